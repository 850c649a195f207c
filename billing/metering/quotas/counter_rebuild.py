"""Compare quotas with records and open claims, and correct them, slice by slice.

An account may have a quota for each of many users, so uses wait for only one slice at a time.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import text

from billing.core import clock
from billing.core.database import Database
from billing.core.transaction_settings import limit_statements
from billing.ledger.credits import service as credits
from billing.metering.usage.counter_rebuild import TIMEOUT_MS, Difference

SLICE: Final = 500
"""Quotas compared in one transaction."""
GRAIN: Final = "quota"
_BEFORE: Final = ("", "", "")
_COUNTERS: Final = text(
    "SELECT meter, owner, window_kind, begins, kept, counted"
    " FROM quota_counters(:account_id, :after, :limit, :write, :at)"
)


async def compare(database: Database, account_id: UUID) -> list[Difference]:
    """Return the open windows of quotas whose count differs from the use; change nothing."""
    return await _recount(database, account_id, write=False)


async def rebuild(database: Database, account_id: UUID) -> list[Difference]:
    """As `compare`, and correct them. The counters of uses must already be right."""
    return await _recount(database, account_id, write=True)


async def _recount(database: Database, account_id: UUID, *, write: bool) -> list[Difference]:
    found: list[Difference] = []
    after: tuple[str, str, str] | None = _BEFORE
    while after is not None:
        wrong, after = await _slice(database, account_id, after, write=write)
        found += wrong
    return found


async def _slice(
    database: Database, account_id: UUID, after: tuple[str, str, str], *, write: bool
) -> tuple[list[Difference], tuple[str, str, str] | None]:
    """Return the slice's differences, and the key to continue after; None after the last slice."""
    async with database.operator() as connection:
        if write:
            await credits.lock(connection, account_id)
        await limit_statements(connection, TIMEOUT_MS)
        at = await clock.now(connection, account_id)
        values = {
            "account_id": account_id, "after": list(after), "limit": SLICE, "write": write,
            "at": at,
        }  # fmt: skip
        rows = (await connection.execute(_COUNTERS, values)).all()
    wrong = [
        Difference(row.owner, GRAIN, row.begins, row.meter, row.kept, row.counted)
        for row in rows
        if row.kept != row.counted
    ]
    last = (rows[-1].meter, rows[-1].owner, rows[-1].window_kind) if len(rows) == SLICE else None
    return wrong, last
