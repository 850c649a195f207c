"""Behind a pooler in transaction mode each transaction sets what a session keeps elsewhere."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import text

from billing.core.database import Database, open_database
from billing.core.prepared import Prepared, driver_of, last_of
from billing.core.settings import Settings
from billing.platform.processes import store as processes
from billing.platform.processes.rules import wanted
from billing.platform.processes.service import Pulse
from cli import owner_connection
from devstack.stack import StackInfo

NAMES = (
    "statement_timeout", "idle_in_transaction_session_timeout", "TimeZone", "search_path",
    "app.publish_usage",
)  # fmt: skip
SEEN = text("SELECT " + ", ".join(f"current_setting('{name}', true)" for name in NAMES))
NOTHING = Prepared(text("SELECT 1 AS nothing"))
WANTED = ("5s", "1min", "UTC", "other", "on")
WAYS = ("tenant", "deciding", "reading", "operator", "operator_statement", "tenant_statement")


def settings_of(stack: StackInfo, threshold: str, schema: str = "other") -> Settings:
    settings = {
        "database_url": stack.app_url,
        "database_operator_url": stack.operator_url,
        "BILLING_DATABASE_POOL_SIZE": 1,
        "BILLING_DATABASE_PREPARE_THRESHOLD": threshold,
        "database_schema": schema,
        "BILLING_PUBLISH_USAGE": True,
    }
    return Settings.model_validate(settings)


def opened(stack: StackInfo, threshold: str, schema: str = "other") -> Database:
    return open_database(settings_of(stack, threshold, schema))


@pytest.fixture(params=["off", "5"])
async def database(stack: StackInfo, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    async with opened(stack, request.param) as found:
        yield found


@pytest.mark.parametrize("way", WAYS)
async def test_every_transaction_has_the_settings(database: Database, way: str) -> None:
    accounts = (UUID(int=1),) if way == "deciding" else ()
    longer = ("10s", *WANTED[1:]) if way == "deciding" else WANTED
    async with getattr(database, way)(*accounts) as connection:
        if way == "deciding":  # begins with its first answers
            await last_of(connection, (NOTHING, {}))
        assert tuple((await connection.execute(SEEN)).one()) == longer


async def test_a_glance_shows_its_account(stack: StackInfo) -> None:
    shown = Prepared(text("SELECT current_setting('app.accounts', true) AS shown"))
    found = opened(stack, "off", "public")
    async with found.glancing(UUID(int=1)) as connection:
        assert await last_of(connection, (shown, {})) == [{"shown": str(UUID(int=1))}]
    await found.close()


async def test_behind_a_pooler_no_session_is_asked_for_settings(stack: StackInfo) -> None:
    async with opened(stack, "off") as found:
        async with found.tenant() as connection:
            driver = driver_of(connection)
            assert "options" not in driver.info.get_parameters()
        async with found.tenant_engine.connect() as plain:
            assert await plain.scalar(text("SHOW statement_timeout")) == "0", "nothing stays behind"


async def test_behind_a_pooler_a_process_does_not_count_its_pools_as_connections_of_postgres(
    stack: StackInfo,
) -> None:
    for threshold, counted in (("off", 0), ("5", 2)):
        async with opened(stack, threshold, "public") as found:
            pulse = Pulse(found, "worker")
            await pulse.beat()
            async with found.operator() as connection:
                now, all_processes = await processes.known(connection)
                await processes.leave(connection, pulse._own.id)
        own = [one for one in all_processes if one.id == pulse._own.id]
        assert wanted(own, now) == (1, counted)


def test_commands_on_months_ask_the_operator_for_no_session_of_its_own(stack: StackInfo) -> None:
    with owner_connection.operating(settings_of(stack, "off")) as connection:
        assert "options" not in connection.info.get_parameters()
        found = connection.execute("SELECT current_setting('search_path') AS path").fetchone()
        assert found == {"path": "other"}


async def test_a_statement_alone_is_committed_behind_a_pooler(stack: StackInfo) -> None:
    async with opened(stack, "off") as found:
        async with found.operator_statement() as connection:
            await connection.execute(text("SELECT set_config('app.kept', 'yes', false)"))
        async with found.operator() as connection:
            kept = await connection.scalar(text("SELECT current_setting('app.kept', true)"))
    assert kept == "yes"
