"""A database that sorts texts as English does, not by their bytes, counts each use the same.

A Postgres of one's own is often set up so. The stack sorts by bytes, as migrations/roles.sql says.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import httpx2
import psycopg
import pytest
from sqlalchemy import make_url

from api.app import create_app
from billing.core.database import open_database
from devstack.binaries import postgres_bin
from devstack.options import ROOT
from devstack.os_user import choose_identity
from devstack.stack import StackInfo
from tests.integration.api_app import Api, stack_settings
from tests.integration.sandbox.support import free_port
from tests.integration.usage.conftest import NewShop, shop_maker
from workflows.client import connect

ENGLISH: Final = "en_US.UTF-8"


@pytest.fixture(scope="module")
def elsewhere(stack: StackInfo) -> Iterator[StackInfo]:
    """The run's stack with another Postgres, whose databases were there before roles.sql."""
    folder, port = Path(tempfile.mkdtemp(prefix="billing-english-")), free_port()
    (locales := folder / "locales").mkdir()
    made = ["localedef", "--no-archive", "-i", "en_US", "-f", "UTF-8", str(locales / ENGLISH)]
    if shutil.which("localedef") is None or subprocess.run(made, check=False).returncode:
        pytest.skip("this machine cannot make an English locale")
    for path in (folder, locales):
        path.chmod(0o755)
    identity = choose_identity(postgres_bin(), folder)
    identity.own(folder)
    env = {"LOCPATH": str(locales), "PATH": os.environ["PATH"]}

    def command(program: str, *words: str) -> list[str]:
        return [*identity.prefix, str(postgres_bin() / program), *words]

    subprocess.run(
        command("initdb", "-D", f"{folder}/data", f"--locale={ENGLISH}", "-U", "postgres",
                "--auth=trust", "--no-sync"),
        check=True, capture_output=True, cwd="/", env=env, user=identity.uid,
    )  # fmt: skip
    server = subprocess.Popen(
        command("postgres", "-D", f"{folder}/data", "-p", str(port), "-k", str(folder),
                "-c", "fsync=off", "-c", "timezone=UTC"),
        stderr=subprocess.DEVNULL, cwd="/", env=env, user=identity.uid,
    )  # fmt: skip
    try:
        set_roles(folder, port)
        urls = {key: at(stack.env[key], folder, port) for key in stack.env if is_database(key)}
        provision = [sys.executable, "-m", "cli.provision"]
        subprocess.run(provision, check=True, cwd=ROOT, env=os.environ | stack.env | urls)
        yield stack.model_copy(update={"env": stack.env | urls})
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def is_database(key: str) -> bool:
    return key.startswith("DATABASE_") and key.endswith("URL")


def at(url: str, folder: Path, port: int) -> str:
    """The same role and database on another server."""
    there = make_url(url).update_query_dict({"host": str(folder), "port": str(port)})
    return there.render_as_string(hide_password=False)


def set_roles(folder: Path, port: int) -> None:
    """Run roles.sql, as deploy.md says, where the database is there already."""
    url = f"postgresql://postgres@/postgres?host={folder}&port={port}"
    for left in reversed(range(100)):
        try:
            with psycopg.connect(url, autocommit=True) as superuser:
                superuser.execute("CREATE DATABASE billing")
            break
        except psycopg.OperationalError:
            if not left:
                raise
            time.sleep(0.1)
    passwords = {f"DATABASE_{role}_PASSWORD": "x" for role in ("OWNER", "APP", "OPERATOR")}
    roles = str(ROOT / "migrations" / "roles.sql")
    psql = [str(postgres_bin() / "psql"), "--no-psqlrc", "--quiet", f"--file={roles}", url]
    subprocess.run(psql, check=True, env=os.environ | passwords)


@pytest.fixture
async def new_shop(elsewhere: StackInfo) -> AsyncIterator[NewShop]:
    settings = stack_settings(elsewhere)
    async with open_database(settings) as database:
        app = create_app(settings, database, await connect(settings))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
            yield shop_maker(Api(app, client, elsewhere))


async def test_users_and_operations_are_told_in_any_locale(new_shop: NewShop) -> None:
    """Each report was one nameless row, and no user was active: `u:ann` is not below `u;` there."""
    shop = await new_shop("100", is_test=True, clock_at="2027-03-01T12:00:00Z")
    async with shop.api.database.tenant() as connection:
        sorts = await connection.exec_driver_sql("SELECT 'u:ann' < 'u;'")
        assert sorts.scalar() is False
    await shop.record(user_id="ann", organization_id="o-1", operation="chat", model="four")
    await shop.record("500", user_id="bob", operation="chat")

    days = {"start_date": "2027-03-01", "end_date": "2027-03-01", "format": "json"}
    for group_by, wanted in {
        "user": [("ann", "1000.00"), ("bob", "500.00")],
        "organization": [("", "500.00"), ("o-1", "1000.00")],
        "operation": [("chat", "1500.00")],
        "model": [("", "500.00"), ("four", "1000.00")],
    }.items():
        rows = (await shop.get("/usage/reports", group_by=group_by, **days))["data"]
        assert [(row[group_by], row["quantity"]) for row in rows] == wanted
    summary = await shop.get("/usage/summary")
    assert [one["name"] for one in summary["by_operation"]] == ["chat"]
    assert [one["name"] for one in summary["by_model"]] == ["four"]
    stats = await shop.get("/stats")
    assert (stats["active_users"], stats["active_organizations"]) == (2, 1)
