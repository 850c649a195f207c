"""Connections that the server has ended: whoever comes next gets another, and notices nothing."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from signal import SIGCONT, SIGSTOP

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from api.answers.problems import code_of
from api.app import create_app
from api.edge.slow_handlers import SlowHandlerMiddleware
from billing.core.database import Database, open_database
from billing.core.errors import NotAllowed
from billing.core.prepared import driver_of
from billing.core.settings import Settings
from devstack.stack import StackInfo
from tests.integration.api_app import ACCOUNTS, Api

PID = text("SELECT pg_backend_pid()")
PREPARED = text("SELECT count(*) FROM pg_prepared_statements")
HANGS_SECONDS = 2.0
END = text("SELECT pg_terminate_backend(:pid, 5000)")


@pytest.fixture
async def database(stack: StackInfo) -> AsyncIterator[Database]:
    """A small pool of its own: its connections are about to be ended."""
    settings = {
        "database_url": stack.app_url,
        "database_operator_url": stack.operator_url,
        "BILLING_DATABASE_POOL_SIZE": 1,
    }
    async with open_database(Settings.model_validate(settings)) as opened:
        yield opened


@pytest.mark.parametrize("way", ["tenant", "tenant_statement", "operator", "operator_statement"])
async def test_a_connection_that_the_server_ended_is_passed_by(
    stack: StackInfo, database: Database, way: str
) -> None:
    opened = getattr(database, way)
    async with opened() as connection:
        first = await connection.scalar(PID)
    engine = create_async_engine(stack.superuser_url)
    async with engine.connect() as superuser:
        assert await superuser.scalar(END, {"pid": first})
    await engine.dispose()
    async with opened() as connection:
        assert await connection.scalar(PID) != first


@pytest.mark.parametrize("way", ["tenant", "operator"])
async def test_a_server_that_is_gone_without_a_word_is_noticed_within_half_a_minute(
    database: Database, way: str
) -> None:
    async with getattr(database, way)() as connection:
        said = driver_of(connection).info.get_parameters()
    probes = int(said["keepalives_interval"]) * int(said["keepalives_count"])
    assert int(said["keepalives_idle"]) + probes <= 30, "of one that owes an answer, in seconds"
    assert 0 < int(said["tcp_user_timeout"]) <= 15_000, "of one that is asked, in milliseconds"


async def test_a_server_that_hangs_leaves_no_caller_without_an_answer(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlowHandlerMiddleware.__init__, "__defaults__", (HANGS_SECONDS / 4,))
    services = api.app.state.services
    app = create_app(services.settings, database, services.temporal_client)
    pids = [await _pid(database.tenant), await _pid(database.operator)]
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://api", headers=api.admin()
    ) as client:
        assert (await client.get(ACCOUNTS)).status_code == 200
        _signal(pids, SIGSTOP)
        asyncio.get_running_loop().call_later(HANGS_SECONDS, _signal, pids, SIGCONT)
        answer = await client.get(ACCOUNTS)
        assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
        assert (await client.get(ACCOUNTS)).status_code == 200, "it goes on"


async def _pid(opened: Callable[[], AbstractAsyncContextManager[AsyncConnection]]) -> int:
    async with opened() as connection:
        return int(await connection.scalar(PID) or 0)


def _signal(pids: list[int], signal: int) -> None:
    for pid in pids:
        os.kill(pid, signal)


async def test_a_transaction_that_is_given_up_leaves_its_connection_prepared(
    database: Database,
) -> None:
    for _ in range(10):  # the driver prepares what it has seen some times
        with pytest.raises(NotAllowed):
            await _give_up(database)
    async with database.tenant() as connection:
        assert await connection.scalar(PREPARED)
        assert not await connection.scalar(text("SELECT current_setting('app.kept', true)"))


async def _give_up(database: Database) -> None:
    async with database.tenant() as connection:
        await connection.execute(text("SELECT set_config('app.kept', 'yes', true)"))
        raise NotAllowed("FORBIDDEN", "whatever")


async def _cut_off(database: Database) -> int:
    """End a transaction as a task that is canceled amid a pipeline; return its backend."""
    pid = 0
    with suppress(asyncio.CancelledError):
        async with database.operator() as connection:
            pid = await connection.scalar(PID)
            driver_of(connection).pgconn.enter_pipeline_mode()
            raise asyncio.CancelledError
    return pid


async def test_a_connection_whose_pipeline_did_not_end_is_not_used_again(
    database: Database,
) -> None:
    first = await _cut_off(database)
    async with database.operator() as connection:
        assert await connection.scalar(PID) != first


async def test_a_lone_statement_shows_nothing_that_it_does_not_name(database: Database) -> None:
    async with database.tenant_statement() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM credit_balances")) == 0


@pytest.mark.parametrize("way", ["operator", "operator_statement"])
async def test_a_server_that_only_reads_is_away_and_its_connection_is_let_go(
    database: Database, way: str
) -> None:
    async with getattr(database, way)() as connection:
        before = await connection.scalar(PID)
    with pytest.raises(DBAPIError) as refused:
        await _write_where_it_only_reads(database, way)
    assert code_of(refused.value) == "DATABASE_UNAVAILABLE"
    async with getattr(database, way)() as connection:
        assert await connection.scalar(PID) != before
        await connection.execute(text("UPDATE accounts SET name = name WHERE false"))


async def _write_where_it_only_reads(database: Database, way: str) -> None:
    async with getattr(database, way)() as connection:
        await connection.execute(text("SET default_transaction_read_only = on"))
        await connection.execute(text("SET transaction_read_only = on"))
        await connection.execute(text("UPDATE accounts SET name = name"))
