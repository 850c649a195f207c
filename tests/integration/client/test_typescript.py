"""The TypeScript client: made anew it is the same; packed and installed, a shop buys with it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from devstack.options import ROOT
from tests.api_document import DOCUMENT
from tests.integration.actors import Actors, Customer
from tests.integration.client.conftest import token_of
from tests.typescript_client import (
    CLIENT,
    SCHEMA,
    install,
    npm,
    schema_text,
    types_alone,
)

pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None, reason="node and npm are not installed here"
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the client with what npm installs for it."""
    copy = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(CLIENT, copy, ignore=shutil.ignore_patterns("node_modules", "dist", "built"))
    install(copy)
    return copy


def test_the_types_made_anew_are_the_ones_that_are_kept(client: Path) -> None:
    made = schema_text(DOCUMENT, client)
    assert types_alone(made) == types_alone(SCHEMA.read_text()), "run: make client-typescript"


@pytest.fixture(scope="module")
def packed(client: Path) -> Path:
    """The package as the README packs it: nobody has built the client before."""
    assert not (client / "dist").exists()
    return client.parent / npm("pack", str(client), "--silent", folder=client.parent).strip()


def test_packed_it_is_installed_in_an_empty_folder_and_imported(
    packed: Path, tmp_path: Path
) -> None:
    npm("install", "--no-audit", "--no-fund", str(packed), folder=tmp_path)
    program = 'import * as it from "durable-billing-client"; console.log(it.read.name)'
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == "read\n", done.stderr


@pytest.fixture(scope="module")
def shop(client: Path, packed: Path) -> Path:
    """A folder with the packed client installed, and a program compiled against its types."""
    folder = client.parent / "shop"
    shutil.copytree(client / "tests", folder)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm("install", "--no-package-lock", "--no-audit", "--no-fund", str(packed), folder=folder)
    compiler = client / "node_modules" / ".bin" / "tsc"
    done = subprocess.run(
        [compiler, "-p", folder], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stdout
    return folder


def test_the_package_holds_the_client_and_nothing_else(shop: Path) -> None:
    installed = shop / "node_modules" / "durable-billing-client"
    files = {path.relative_to(installed).as_posix() for path in installed.rglob("*.*")}
    assert files == {
        "README.md", "package.json", "dist/index.js", "dist/index.d.ts", "dist/schema.js",
        "dist/schema.d.ts",
    }  # fmt: skip
    assert (installed / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@pytest.fixture
async def said(actors: Actors, customer: Customer, shop: Path) -> str:
    stack = actors.stack
    operator = actors.headers("*", "admin")["Authorization"].removeprefix("Bearer ")
    command = [
        "node", "built/buy.js", stack.api_url.rstrip("/"), stack.sandbox_url.rstrip("/"),
        token_of(actors, customer.id, "billing"), operator,
    ]  # fmt: skip
    done = subprocess.run(  # noqa: ASYNC221 - nothing else waits on this loop
        command, cwd=shop, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_shop_buys_reads_and_is_refused(said: str, customer: Customer) -> None:
    assert said == "bought, read and refused\n"
    assert len(await customer.grants()) == 1
