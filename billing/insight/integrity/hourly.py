"""The hourly run: checks changed accounts and some others, everything that is late, and once a day
what spans accounts.

Accounts that fail a check stay marked, and are checked again each time until they pass.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from billing.core.clock import agreed_now
from billing.core.database import Database
from billing.core.database_errors import took_too_long
from billing.insight.integrity import openings, rules, runs, service
from billing.insight.integrity.openings import Opening
from billing.insight.integrity.schemas import Broken, Report
from billing.insight.rounds import store as rounds

WHOLE_EVERY: Final = timedelta(days=1)
AT_ONCE: Final = 4
"""Accounts with an opening that are checked concurrently: a part of the pool."""
_logger = logging.getLogger("billing.integrity")


async def note(database: Database, at_least: int) -> None:
    """Mark accounts that changed since the last run, and the next in rotation for a full check."""
    async with database.operator() as connection:
        after, last = await rounds.note(connection, rules.JOB, rounds.EVERYTHING, at_least)
        await openings.in_turn(connection, after, last)


async def page(database: Database, after: UUID, limit: int) -> list[UUID]:
    """Return the next accounts to check."""
    async with database.operator() as connection:
        return await rounds.page(connection, rules.JOB, after, limit)


async def look(database: Database, accounts: Sequence[UUID], large: int = openings.LARGE) -> int:
    """Check new rows of accounts with an opening, and all rows of the others: these on one
    snapshot or, if that takes too long, in halves. Return how many were checked.
    """
    async with database.operator() as connection:
        began = await agreed_now(connection)
        known = await openings.known(connection, rules.JOB, accounts)
    well = await _well_since(database, known, began)
    others = [one for one in accounts if one not in well]
    return len(well) + (await _look_whole(database, others, large, began) if others else 0)


async def _well_since(database: Database, known: Sequence[Opening], began: datetime) -> set[UUID]:
    """Return the accounts that are clean by their opening and newer rows, checked a few at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(opening: Opening) -> bool:
        async with gate:
            return await _is_well_since(database, opening, began)

    found = await asyncio.gather(*map(one, known), return_exceptions=True)
    for answer in found:
        if isinstance(answer, BaseException):
            raise answer
    return {opening.account_id for opening, well in zip(known, found, strict=True) if well}


async def _is_well_since(database: Database, opening: Opening, began: datetime) -> bool:
    try:
        extended = await service.look_since(database, opening)
    except DBAPIError as error:
        if not took_too_long(error):
            raise
        return False
    if extended:
        await _record(database, [opening.account_id], (), [extended], began)
    return extended is not None


async def _look_whole(
    database: Database, accounts: Sequence[UUID], large: int, began: datetime
) -> int:
    try:
        broken, opened = await service.look_and_open(database, accounts, large)
    except DBAPIError as error:
        if not took_too_long(error):
            raise
        if len(accounts) == 1:
            _logger.error("the books of %s could not be looked at: %s", accounts[0], error.orig)
            async with database.operator() as connection:
                await openings.go_on(connection, accounts[0])
            return 0
        half = len(accounts) // 2
        first = await _look_whole(database, accounts[:half], large, began)
        return first + await _look_whole(database, accounts[half:], large, began)
    await _record(database, accounts, broken, opened, began)
    return len(accounts)


async def conclude(database: Database, seen: int, unseen: int) -> Report:
    """Report all current faults: of accounts, late, and across accounts; store the report."""
    broken = await service.late(database, rules.OUTAGE)
    async with database.operator() as connection:
        now, last = await agreed_now(connection), await runs.latest(connection)
    whole_at = last.whole_at if last else None
    if whole_at is None or whole_at < now - WHOLE_EVERY:
        of_all = await service.of_all(database, anew=False)
        broken += of_all
        whole_at = whole_at if of_all else now
    async with database.operator() as connection:
        here = await rounds.broken(connection, rules.JOB)
        report = rules.report([*broken, *(Broken.model_validate(one) for one in here)], now)
        await runs.keep(connection, report, seen=seen, unseen=unseen, whole_at=whole_at)
    return report


async def _record(
    database: Database,
    accounts: Sequence[UUID],
    broken: Sequence[Broken],
    opened: Sequence[Opening],
    began: datetime,
) -> None:
    kept: dict[UUID, list[dict[str, object]]] = {}
    for one in broken:
        if one.account_id is not None:
            found = one.model_dump(mode="json", exclude={"account_id"})
            kept.setdefault(one.account_id, []).append(found)
    async with database.operator() as connection:
        await openings.drop(connection, kept)
        await openings.keep(connection, opened)
        await rounds.record(connection, rules.JOB, accounts, began, kept)
