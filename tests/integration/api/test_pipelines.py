"""Statements of a pipeline leave together, and each has its answer, however large they are."""

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing.core.database import Database
from billing.core.prepared import Prepared, answers, pipeline
from devstack.stack import StackInfo
from tests.integration.faults.rows import open_operator

ECHO = Prepared(text("SELECT CAST(:value AS text) AS value"))
REFUSED = Prepared(text("SELECT 1 / 0"))


@pytest.fixture
async def database(stack: StackInfo) -> AsyncIterator[Database]:
    async with open_operator(stack) as opened:
        yield opened


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The waits of the driver: at each it gives way to others."""
    waited: list[int] = []
    wait = psycopg.AsyncConnection.wait

    def watched(steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        try:
            wanted = next(steps)
            while True:
                waited.append(wanted)
                wanted = steps.send((yield wanted))
        except StopIteration as ended:
            return ended.value

    async def counted(driver: Any, steps: Any, **more: Any) -> Any:
        return await wait(driver, watched(steps), **more)

    monkeypatch.setattr(psycopg.AsyncConnection, "wait", counted)
    return waited


async def test_statements_leave_together(database: Database, turns: list[int]) -> None:
    async with database.operator() as connection:
        turns.clear()
        async with pipeline(connection):
            sent = [await ECHO.send_kept(connection, value=str(one)) for one in range(20)]
            assert turns == [], "none leaves by itself"
        found = [await one.fetchone() for one in sent]
    assert found == [{"value": str(one)} for one in range(20)]


async def test_large_statements_and_answers_do_not_block_each_other(database: Database) -> None:
    values = [str(one) * 100_000 for one in range(30)]
    async with asyncio.timeout(20), database.operator() as connection:
        found = await answers(connection, *((ECHO, {"value": one}) for one in values))
    assert [row["value"] for (row,) in found] == values


async def test_an_answer_is_read_before_the_end_and_a_pipeline_within_one_ends_first(
    database: Database,
) -> None:
    async with database.operator() as connection, pipeline(connection):
        last = await ECHO.send(connection, value="last")
        assert await ECHO.scalar(connection, value="first") == "first"
        assert await answers(connection, (ECHO, {"value": "within"})) == [[{"value": "within"}]]
        assert await last.fetchone() == {"value": "last"}


async def test_after_a_refusal_the_connection_serves_again(database: Database) -> None:
    for _ in range(2):
        with pytest.raises(DBAPIError, match="division by zero"):
            await _refused(database)
        async with database.operator() as connection:
            assert await ECHO.scalar(connection, value="3") == "3"


async def _refused(database: Database) -> None:
    async with database.operator() as connection, pipeline(connection):
        await ECHO.send(connection, value="1")
        await REFUSED.send(connection)
        await ECHO.send(connection, value="2")
