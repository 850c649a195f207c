"""The only source of time: an account's frozen test clock if it has one, else real time.

Nothing else in the product reckons an account's time, but SQL functions that tests/test_time.py
lists.
"""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared

_NOW = Prepared(text("SELECT clock_at FROM accounts WHERE id = :account_id"))
_DATABASE_NOW = Prepared(select(func.clock_timestamp()))


def real_now() -> datetime:
    """Return the real time in UTC. For business dates use `now`."""
    return datetime.now(UTC)


async def database_now(connection: AsyncConnection) -> datetime:
    """Return the database's real time, by which processes whose clocks differ agree."""
    at: datetime = await _DATABASE_NOW.scalar(connection)
    return at


async def agreed_now(connection: AsyncConnection) -> datetime:
    """Return the earlier of this process's real time and the database's: while one clock is ahead,
    no job passes over or deletes what is past by that clock alone.
    """
    return min(real_now(), await database_now(connection))


async def now(connection: AsyncConnection, account_id: UUID) -> datetime:
    """Return the account's own time: `accounts.clock_at`, or real time."""
    return now_by(await _NOW.scalar(connection, account_id=account_id))


def now_by(clock_at: datetime | None, real_at: datetime | None = None) -> datetime:
    """Return the own time of an account whose `clock_at` was read already; `real_at` is the real
    time, if that was read already, too.
    """
    return clock_at or real_at or real_now()
