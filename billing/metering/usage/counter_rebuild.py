"""Compare counters with their records and correct them, one account at a time.

Records and counters commit together, so they agree in any snapshot; a difference is a bug.
An account with few uses is compared by its whole last cycle, each time. One with many is compared
by its current days, and by whole cycles weekly and when a new one has begun.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.clock import real_now
from billing.core.database import Database
from billing.core.database_errors import took_too_long
from billing.core.periods import EPOCH, LONGEST_DAY
from billing.core.transaction_settings import WHOLE_ACCOUNT_MS, limit_statements
from billing.ledger.credits import service as credits
from billing.metering.usage.tables import usage_periods

TIMEOUT_MS: Final = 120_000
"""A large account is read as a whole; the usual statement timeout is for interactive requests."""
LARGE: Final = 5_000
"""An account with at least this many uses in its last cycle is compared by days."""
WHOLE_EVERY: Final = timedelta(days=6)
"""Less than a week, the time between two rounds."""
_DIFFERENT: Final = (
    "SELECT owner, grain, bucket, meter, kept_quantity AS kept, true_quantity AS true,"
    " period_start, facet"
)
_RECOUNT: Final = text(f"{_DIFFERENT} FROM usage_differing_counters(:account_id, :since)")
_RECOUNT_DAYS: Final = text(f"{_DIFFERENT} FROM usage_recount_days(:account_id, :since)")
_CORRECT: Final = text(
    "SELECT usage_correct_counters(:account_id, CAST(:counters AS jsonb), :day, :end)"
)
# An account with its own clock has uses of any time.
_LAST_CYCLES: Final = text(
    """
    SELECT a.id AS account_id,
        CASE WHEN p.counted_at IS NULL THEN coalesce(before.start_at, p.start_at)
            ELSE p.start_at END AS since,
        coalesce(p.counted_at < clock_timestamp() - CAST(:every AS interval), true) AS is_due,
        a.clock_at IS NULL AND coalesce((
            SELECT sum(c.events) FROM usage_counters c
            WHERE c.account_id = a.id AND c.owner = '' AND c.grain = 'day'
                AND c.period_start >= p.start_at), 0) >= :large AS is_large
    FROM accounts a
    LEFT JOIN LATERAL (
        SELECT start_at, counted_at FROM usage_periods
        WHERE account_id = a.id ORDER BY start_at DESC LIMIT 1) p ON true
    LEFT JOIN LATERAL (
        SELECT start_at FROM usage_periods
        WHERE account_id = a.id ORDER BY start_at DESC OFFSET 1 LIMIT 1) before ON true
    WHERE a.id = ANY(:accounts) ORDER BY a.id
    """
)
_COUNTED: Final = text(
    "UPDATE usage_periods SET counted_at = clock_timestamp()"
    " WHERE account_id = :account_id AND start_at >= :since"
)


@dataclass(frozen=True, slots=True)
class LastCycle:
    """The account's last cycle, and the start of a whole comparison: the cycle before, unless that
    was compared after this one began.
    """

    account_id: UUID
    since: datetime | None
    is_due: bool
    """True if it was not compared as a whole recently."""
    is_large: bool

    @property
    def is_whole(self) -> bool:
        """True if there is a cycle, and it must be compared as a whole."""
        return self.since is not None and (self.is_due or not self.is_large)


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that differs from its records; None where one of the two is missing."""

    owner: str
    grain: str
    bucket: datetime
    meter: str
    kept: Decimal | None
    true: Decimal | None
    period_start: datetime | None = None
    facet: str = ""

    @property
    def day(self) -> datetime:
        """The beginning of its day, or an instant before that."""
        return self.bucket if self.grain == "day" else self.bucket - LONGEST_DAY


async def accounts(connection: AsyncConnection, after: UUID | None, limit: int) -> list[UUID]:
    """Return the next accounts that have usage, by id."""
    period = usage_periods.c
    query = select(period.account_id).distinct()
    if after is not None:
        query = query.where(period.account_id > after)
    return list(await connection.scalars(query.order_by(period.account_id).limit(limit)))


async def last_cycles(connection: AsyncConnection, accounts: Sequence[UUID]) -> list[LastCycle]:
    """Return the last cycle of each of these accounts."""
    values = {"accounts": list(accounts), "every": WHOLE_EVERY, "large": LARGE}
    rows = await connection.execute(_LAST_CYCLES, values)
    return [LastCycle(**row) for row in rows.mappings()]


async def sync(database: Database, cycle: LastCycle) -> list[Difference]:
    """Compare what is due, and correct the differences.

    Errors: DBAPIError if a statement takes too long. The whole cycle is then retried in a week;
    until then only days are compared.
    """
    if cycle.since is None:
        return []
    if not cycle.is_whole:
        since = real_now() - LONGEST_DAY
        return await _sync(database, cycle.account_id, since, _RECOUNT_DAYS, TIMEOUT_MS)
    try:
        wrong = await _sync(database, cycle.account_id, cycle.since, _RECOUNT, TIMEOUT_MS)
    except DBAPIError as error:
        if took_too_long(error):
            await _note(database, cycle)
        raise
    if cycle.is_due:
        await _note(database, cycle)
    return wrong


async def _sync(
    database: Database,
    account_id: UUID,
    since: datetime,
    statement: TextClause,
    timeout_ms: int,
) -> list[Difference]:
    async with database.operator() as connection:
        await limit_statements(connection, timeout_ms)
        wrong = await _recount(connection, account_id, since, statement)
    for some in _by_days(wrong):
        async with database.operator() as connection:
            await credits.lock(connection, account_id)
            await limit_statements(connection, TIMEOUT_MS)
            await connection.execute(_CORRECT, {"account_id": account_id} | _values(some))
    return wrong


def _by_days(wrong: Sequence[Difference]) -> Iterator[list[Difference]]:
    """Yield them day by day: uses wait for the recount of one day's at a time."""
    some: list[Difference] = []
    for one in sorted(wrong, key=lambda one: one.day):
        if some and one.day - some[0].day >= timedelta(days=1):
            yield some
            some = []
        some.append(one)
    if some:
        yield some


def _values(some: Sequence[Difference]) -> dict[str, Any]:
    keys = ("owner", "grain", "period_start", "bucket", "meter", "facet")
    counters = [{key: getattr(one, key) for key in keys} for one in some]
    return {
        "counters": json.dumps(counters, default=str),
        "day": some[0].day,
        "end": max(one.bucket for one in some) + LONGEST_DAY,
    }


async def _note(database: Database, cycle: LastCycle) -> None:
    async with database.operator() as connection:
        values = {"account_id": cycle.account_id, "since": cycle.since}
        await connection.execute(_COUNTED, values)


async def compare(
    database: Database, account_id: UUID, since: datetime = EPOCH
) -> list[Difference]:
    """Return counters that differ from their records, in cycles that begin at `since` or later;
    change nothing.
    """
    async with database.operator() as connection:
        await limit_statements(connection, WHOLE_ACCOUNT_MS)
        return await _recount(connection, account_id, since, _RECOUNT)


async def rebuild(
    database: Database, account_id: UUID, since: datetime = EPOCH
) -> list[Difference]:
    """As `compare`, and correct them, day by day; the account's uses wait for one at a time."""
    return await _sync(database, account_id, since, _RECOUNT, WHOLE_ACCOUNT_MS)


async def _recount(
    connection: AsyncConnection,
    account_id: UUID,
    since: datetime,
    statement: TextClause,
) -> list[Difference]:
    values = {"account_id": account_id, "since": since}
    rows = await connection.execute(statement, values)
    return [Difference(**row) for row in rows.mappings()]
