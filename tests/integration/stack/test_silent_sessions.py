"""A program that stops amid a transaction holds its rows for a minute, and not for ever."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing.core import database as module
from billing.core.database import Database, open_database
from devstack.stack import StackInfo
from tests.integration.api_app import stack_settings


async def silent(database: Database, seconds: float) -> Any:
    """A transaction of two statements with some silence between."""
    async with database.operator() as connection:
        await connection.execute(text("SELECT 1"))
        await asyncio.sleep(seconds)
        return await connection.scalar(text("SELECT 1"))


async def test_postgres_ends_a_transaction_that_says_nothing(
    stack: StackInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.IDLE_TRANSACTION_MS == 60_000
    monkeypatch.setattr(module, "IDLE_TRANSACTION_MS", 300)
    async with open_database(stack_settings(stack)) as database:
        with pytest.raises(DBAPIError):
            await silent(database, 1)
        assert await silent(database, 0) == 1, "the next one is served"
