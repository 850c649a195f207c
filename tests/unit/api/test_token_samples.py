"""The samples of docs/tokens.md make tokens that are taken."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from api.identity.auth import BILLING, SharedSecrets, Verifier
from devstack.options import ROOT
from tests.unit.api.conftest import SECRET

_PAGE: Final = (ROOT / "docs" / "tokens.md").read_text()
_CALL: Final = 'console.log(customerToken(process.argv[2], "shop-1", "ann"));'


def sample(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", _PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


async def taken(token: str) -> None:
    keys = SharedSecrets([SECRET])
    verifier = Verifier(keys, audience="durable-billing", issuer="durable-billing")
    caller = await verifier.verify(f"Bearer {token}")
    assert (caller.account, caller.subject, set(caller.roles)) == ("shop-1", "ann", {BILLING})


async def test_a_token_of_the_python_sample_is_taken() -> None:
    names: dict[str, Any] = {}
    exec(sample("python"), names)
    await taken(names["customer_token"](SECRET, "shop-1", "ann"))


@pytest.fixture
def made_by_node(tmp_path: Path) -> str:
    script = tmp_path / "sample.mjs"
    script.write_text(f"{sample('js')}\n{_CALL}")
    command = ["node", str(script), SECRET]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed here")
async def test_a_token_of_the_node_sample_is_taken(made_by_node: str) -> None:
    await taken(made_by_node)
