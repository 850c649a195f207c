"""Statements that go with the COMMIT: they lock last, and what one refuses undoes all."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.prepared import Prepared
from billing.core.with_commit import with_commit
from billing.platform.audit import service as audit
from devstack.stack import StackInfo
from tests.integration.faults.rows import open_operator

LOCK = Prepared(text("SELECT pg_advisory_xact_lock(4711)"))
REFUSED = Prepared(text("SELECT 1 / 0"))
WRITTEN = text("SELECT count(*) FROM billing_audit WHERE subject = :subject")


@pytest.fixture
async def database(stack: StackInfo) -> AsyncIterator[Database]:
    async with open_operator(stack) as opened:
        yield opened


async def _write(connection: AsyncConnection, subject: str) -> None:
    await audit.record(
        connection, account_id=None, action="test.write", subject=subject, at=real_now()
    )


async def _written(database: Database, subject: str) -> int:
    async with database.operator() as connection:
        found: int = await connection.scalar(WRITTEN, {"subject": subject})
        return found


async def test_nobody_waits_for_a_lock_that_goes_with_the_commit(database: Database) -> None:
    subject = uuid4().hex
    async with database.operator() as slow:
        with_commit(slow, LOCK.send)
        await _write(slow, subject)
        async with asyncio.timeout(5), database.operator() as other:
            with_commit(other, LOCK.send)
            await _write(other, subject)
        assert await _written(database, subject) == 1
    assert await _written(database, subject) == 2


async def test_what_is_refused_with_the_commit_undoes_all(database: Database) -> None:
    subject = uuid4().hex
    with pytest.raises(DBAPIError, match="division by zero"):
        await _commit_with(database, subject, REFUSED)
    assert await _written(database, subject) == 0
    await _commit_with(database, subject, LOCK)
    assert await _written(database, subject) == 1


async def _commit_with(database: Database, subject: str, last: Prepared) -> None:
    async with database.operator() as connection:
        await _write(connection, subject)
        with_commit(connection, last.send)
