"""Self-checking books: every invariant on one snapshot of the rows.

Operators ask by route or command; tests ask after every fault.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.database import Database
from billing.insight.integrity import store
from billing.insight.integrity.rules import CHECKS, find
from billing.insight.integrity.schemas import Report


async def evaluate(
    connection: AsyncConnection, account_id: UUID | None = None, *, now: datetime | None = None
) -> Report:
    """All checks on what this connection sees, optionally of one account only, as of `now`.

    Use `examine` for one snapshot of a database that others write to meanwhile.
    """
    await store.allow_time(connection)
    now = now or real_now()
    found = await store.ledger_violations(connection, account_id)
    for check in CHECKS:
        if check.name not in found:
            found[check.name] = await store.violations(connection, check.name, now, account_id)
    findings = [find(check.name, *found[check.name]) for check in CHECKS]
    return Report(ok=all(finding.ok for finding in findings), as_of=now, checks=tuple(findings))


async def examine(database: Database, account_id: UUID | None = None) -> Report:
    """The same in a transaction of its own: one read-only snapshot, as the operator sees it."""
    async with database.operator() as connection:
        await store.freeze(connection)
        return await evaluate(connection, account_id)
