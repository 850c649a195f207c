"""Self-checking books: every invariant, on one snapshot per page of accounts.

Operators run the checks by route or command, the hourly run checks changed accounts, and tests
check after every fault.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import TextClause
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import agreed_now, real_now
from billing.core.database import Database
from billing.core.database_errors import took_too_long
from billing.core.transaction_settings import read_by_index
from billing.insight.integrity import numbers, openings, rules, store
from billing.insight.integrity.openings import Opening
from billing.insight.integrity.schemas import Broken, Report

PAGE: Final = 500
"""Accounts per snapshot: a snapshot delays vacuum for as long as it lasts."""
Progress = Callable[[int, int], None]
"""A callback that receives (done, total) as accounts are checked."""
_logger = logging.getLogger("billing.integrity")


async def evaluate(
    connection: AsyncConnection, *accounts: UUID, now: datetime | None = None
) -> Report:
    """Run all checks of these accounts on this connection, as of `now`.

    Use `examine` for a snapshot if others write to the database meanwhile.
    """
    now = now or real_now()
    return rules.report(await faults_of(connection, accounts, now), now)


async def faults_of(
    connection: AsyncConnection, accounts: Sequence[UUID], now: datetime
) -> list[Broken]:
    """Run all checks of these accounts as `evaluate` does; return what each account fails."""
    found = await _written(connection, accounts, now)
    for query in store.LATE_HERE.values():
        found += await store.ask(connection, query, now, accounts)
    return found


async def examine(database: Database, account_id: UUID | None = None) -> Report:
    """Check one account on one read-only snapshot, or all accounts (`examine_all`)."""
    if account_id is None:
        return await examine_all(database)
    async with database.operator() as connection:
        await store.freeze(connection)
        return await evaluate(connection, account_id)


async def examine_all(
    database: Database,
    tell: Progress = lambda _done, _total: None,
    *,
    page: int = PAGE,
    slack: timedelta = rules.SLACK,
) -> Report:
    """Check all accounts, a snapshot per page, then what is late and what spans accounts. Work in
    progress is late after `slack`.
    """
    as_of = real_now()
    broken: list[Broken] = []
    after, done = UUID(int=0), 0
    total = await count_accounts(database)
    tell(done, total)
    while accounts := await _next(database, after, page):
        broken += await _look_in_time(database, accounts)
        after, done = accounts[-1], done + len(accounts)
        tell(done, max(done, total))
    broken += await late(database, slack)
    broken += await of_all(database)
    return rules.report(broken, as_of)


async def examine_late(database: Database) -> Report:
    """Check only for what is late, in all accounts: the cost grows only with that."""
    as_of = real_now()
    return rules.report(await late(database, rules.OUTAGE), as_of)


async def count_accounts(database: Database) -> int:
    """Count all accounts."""
    async with database.operator() as connection:
        return await store.count_accounts(connection)


async def count_uses(database: Database, account_id: UUID) -> int:
    """Count the uses of one account by its counters."""
    async with database.operator() as connection:
        return await store.count_uses(connection, account_id)


async def look_at(database: Database, accounts: Sequence[UUID]) -> list[Broken]:
    """Check everything that a write may have broken, on one snapshot of these accounts."""
    async with database.operator() as connection:
        await store.freeze(connection)
        return await _written(connection, accounts, real_now(), alone=len(accounts) == 1)


async def look_and_open(
    database: Database, accounts: Sequence[UUID], large: int
) -> tuple[list[Broken], list[Opening]]:
    """Check as `look_at` does, and return openings of large accounts without faults. A single
    account is allowed more time.
    """
    now = real_now()
    async with database.operator() as connection:
        await store.freeze(connection)
        broken = await _written(connection, accounts, now, alone=len(accounts) == 1)
        wrong = {one.account_id for one in broken}
        well = [one for one in accounts if one not in wrong]
        return broken, await openings.read(connection, well, now, large)


async def look_since(database: Database, opening: Opening) -> Opening | None:
    """Check the rows since an opening; return the next opening, or None if anything seems wrong."""
    now, accounts = real_now(), [opening.account_id]
    async with database.operator() as connection:
        await store.freeze(connection)
        if await _written(connection, accounts, now, opening):
            return None
        found = await openings.read(connection, accounts, now, large=0)
    return found[0] if found else None


async def late(database: Database, slack: timedelta) -> list[Broken]:
    """Find everything that is late by more than `slack`, in all accounts."""
    return await _over_all(database, store.LATE, slack)


async def of_all(database: Database, *, anew: bool = True) -> list[Broken]:
    """Run the checks across accounts; without `anew`, check only document numbers that are not
    proven yet.
    """
    broken = await _over_all(database, store.OF_ALL)
    async with database.operator() as connection:
        now = await agreed_now(connection)
    given = numbers.look(database, now, anew=anew)
    return broken + await _in_time(numbers.NAME, given)


async def _written(
    connection: AsyncConnection,
    accounts: Sequence[UUID],
    now: datetime,
    opening: Opening | None = None,
    *,
    alone: bool = False,
) -> list[Broken]:
    await store.allow_time(connection, alone=alone)
    await read_by_index(connection)
    broken = await store.changed_invoices(connection, accounts, opening)
    for query in (store.SINCE if opening else store.WRITTEN).values():
        broken += await store.ask(connection, query, now, accounts, opening)
    return broken


async def _over_all(
    database: Database, queries: store.Queries, slack: timedelta = rules.SLACK
) -> list[Broken]:
    async def found(query: TextClause) -> list[Broken]:
        async with database.operator() as connection:
            await store.allow_time(connection)
            return await store.ask(connection, query, await agreed_now(connection), slack=slack)

    broken = []
    for name, query in queries.items():
        broken += await _in_time(name, found(query))
    return broken


async def _in_time(name: str, look: Awaitable[list[Broken]]) -> list[Broken]:
    """Run one check; a timeout is reported as a finding and does not stop the other checks."""
    try:
        return await look
    except DBAPIError as error:
        if not took_too_long(error):
            raise
        _logger.error("the check %s took too long: %s", name, error.orig)
        return [rules.unmade(name)]


async def _look_in_time(database: Database, accounts: Sequence[UUID]) -> list[Broken]:
    """Check the accounts together or, if that takes too long, in halves."""
    if len(accounts) == 1:
        name = ids.encode(ids.ACCOUNT, accounts[0])
        return await _in_time(name, look_at(database, accounts))
    try:
        return await look_at(database, accounts)
    except DBAPIError as error:
        if not took_too_long(error):
            raise
    half = len(accounts) // 2
    first = await _look_in_time(database, accounts[:half])
    return first + await _look_in_time(database, accounts[half:])


async def _next(database: Database, after: UUID, limit: int) -> list[UUID]:
    async with database.operator() as connection:
        return await store.account_page(connection, after, limit)
