"""Counters compared with their records and corrected, one account at a time.

Records and counters commit together, so one snapshot must agree; what does not is a fault of ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database import Database
from billing.ledger.credits import service as credits
from billing.metering.usage.tables import usage_periods

BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
TIMEOUT_MS: Final = 120_000
"""A large account is read whole; the usual limit of a statement is for people who wait."""
_RECOUNT: Final = text(
    "SELECT owner, grain, bucket, meter, kept_quantity AS kept, true_quantity AS true"
    " FROM usage_recount(:account_id, :since, :write)"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that its records do not bear out; None where one of the two is missing."""

    owner: str
    grain: str
    bucket: datetime
    meter: str
    kept: Decimal | None
    true: Decimal | None


async def accounts(connection: AsyncConnection, after: UUID | None, limit: int) -> list[UUID]:
    """The next accounts that used anything, by id."""
    period = usage_periods.c
    query = select(period.account_id).distinct()
    if after is not None:
        query = query.where(period.account_id > after)
    return list(await connection.scalars(query.order_by(period.account_id).limit(limit)))


async def last_cycles(
    connection: AsyncConnection, accounts: Sequence[UUID]
) -> list[tuple[UUID, datetime | None]]:
    """The beginning of the last cycle of each of these accounts; None: nothing was used."""
    period = usage_periods.c
    query = select(period.account_id, func.max(period.start_at)).group_by(period.account_id)
    rows = await connection.execute(query.where(period.account_id.in_(accounts)))
    began = {row[0]: row[1] for row in rows}
    return [(account_id, began.get(account_id)) for account_id in accounts]


async def compare(
    database: Database, account_id: UUID, since: datetime = BEGINNING
) -> list[Difference]:
    """Counters that differ from their records, of cycles that begin at `since` or later; changes
    nothing.
    """
    async with database.operator() as connection:
        return await _recount(connection, account_id, since, write=False)


async def rebuild(
    database: Database, account_id: UUID, since: datetime = BEGINNING
) -> list[Difference]:
    """As `compare`, and set them right; the account's uses wait meanwhile."""
    async with database.operator() as connection:
        await credits.lock(connection, account_id)
        return await _recount(connection, account_id, since, write=True)


async def _recount(
    connection: AsyncConnection, account_id: UUID, since: datetime, *, write: bool
) -> list[Difference]:
    await connection.execute(text(f"SET LOCAL statement_timeout = {TIMEOUT_MS}"))
    values = {"account_id": account_id, "since": since, "write": write}
    rows = await connection.execute(_RECOUNT, values)
    return [Difference(**row) for row in rows.mappings()]
