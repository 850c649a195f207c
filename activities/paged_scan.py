"""Passes over many items, page by page, with heartbeats.

`pass_over` checks every item, a few at once; each heartbeat has the position, so that a retry
continues there. `drain` deletes pages until one is empty; `drain_along` does so in an order,
`drain_each` thing by thing. `each_apart` runs the parts of a job independently of each other.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity
from temporalio.service import RPCError

from activities.signs_of_life import heartbeating
from billing.core.database import Database
from billing.core.database_errors import database_is_away, took_too_long

AT_ONCE: Final = 4
"""Items checked at once: a part of what the pools and Temporal can bear."""
MOST_FAILURES: Final = 20
"""Failures tolerated on one page; more mean that the database or Temporal is unavailable, and the
pass fails and is retried. Timeouts do not count: they concern one item.
"""
T = TypeVar("T")
K = TypeVar("K", str, UUID)
_logger = logging.getLogger("activities.paged_scan")


class Undone(Exception):
    """Parts of a job that failed, by name; a retry runs them again."""


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """The progress of a pass: the last item of its last whole page, and its sums so far."""

    after: str = ""
    seen: int = 0
    found: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ScannedPage(Generic[T]):
    """Items to check, the number of items read, and the name of the last one read."""

    things: Sequence[T]
    read: int
    last: str

    @classmethod
    def whole(cls, things: Sequence[T], name: Callable[[T], str]) -> "ScannedPage[T]":
        """Return a page whose items must all be checked."""
        return cls(things, len(things), name(things[-1]) if things else "")


async def drain(database: Database, page: Callable[[AsyncConnection], Awaitable[int]]) -> int:
    """Take pages, each in its own transaction, until one is empty; return how many items in total.

    `page` returns how many it took. Taken items are not found again, so a retry needs no position.
    """
    total, taken = 0, 1
    while taken:
        async with heartbeating(), database.operator() as connection:
            taken = await page(connection)
        total += taken
        activity.heartbeat()
    return total


async def drain_along(
    database: Database,
    page: Callable[[AsyncConnection, K], Awaitable[tuple[int, K | None]]],
    after: K,
) -> int:
    """Take pages in an order, each in its own transaction; return how many items in total.

    `page` returns how many it took behind a position, and the next position, or None at the end.
    So deleted rows are not scanned again.
    """
    total, place = 0, after
    while True:
        async with heartbeating(), database.operator() as connection:
            taken, last = await page(connection, place)
        total += taken
        activity.heartbeat()
        if last is None:
            return total
        place = last


async def drain_each(
    database: Database,
    following: Callable[[AsyncConnection, K], Awaitable[tuple[K, int, int] | None]],
    take: Callable[[AsyncConnection, K], Awaitable[None]],
    after: K,
) -> int:
    """Take things in an order, each in its own transaction; return how many items they had.

    `following` returns the thing behind a position, its items and the transactions that they need,
    or None at the end. A thing that fails is logged, and left to the next try. Errors: Undone, with
    the failed things, after all others are taken. If the database is away, its error at once.
    """
    total, place, failed = 0, after, dict[K, Exception]()
    while True:
        async with heartbeating(), database.operator() as connection:
            found = await following(connection, place)
        if found is None:
            break
        place, items, parts = found
        try:
            for _ in range(parts):
                async with heartbeating(), database.operator() as connection:
                    await take(connection, place)
            total += items
        except DBAPIError as error:
            if database_is_away(error):
                raise
            _logger.exception("%s could not be taken", place)
            failed[place] = error
        activity.heartbeat()
    if failed:
        name, why = next(iter(failed.items()))
        raise Undone(f"{len(failed)} not done, such as {name}") from why
    return total


async def each_apart(parts: Mapping[str, Callable[[], Awaitable[int]]]) -> dict[str, int]:
    """Run the parts of a job one after the other; return each part's count.

    Errors: Undone, with the names of the failed parts, after all others are done. If the database
    is away, its error at once.
    """
    counts: dict[str, int] = {}
    failed: dict[str, Exception] = {}
    for name, part in parts.items():
        try:
            counts[name] = await part()
        except Exception as error:
            if database_is_away(error):
                raise
            _logger.exception("%s could not be done", name)
            failed[name] = error
    if failed:
        words = ", ".join(f"{name} ({type(error).__name__})" for name, error in failed.items())
        raise Undone(f"not done: {words}") from next(iter(failed.values()))
    return counts


async def pass_over(
    page: Callable[[str], Awaitable[ScannedPage[T]]],
    name: Callable[[T], str],
    look: Callable[[T], Awaitable[int]],
) -> ScanProgress:
    """Check every item, starting where an earlier try of this activity stopped.

    `page` returns the items to check after a name, in order; `look` returns how many findings one
    has. An item that fails is logged and counted, and left to the next pass.
    """
    passed = ScanProgress(*activity.info().heartbeat_details)
    while (one := await page(passed.after)).read:
        async with heartbeating(*_place(passed)):  # one item may take longer than a silence may
            found, errors = await _look_at(one.things, name, look, passed)
        if _is_outage(errors):
            raise next(error for error in errors if not took_too_long(error))
        passed = ScanProgress(
            after=one.last,
            seen=passed.seen + one.read,
            found=passed.found + found,
            failed=passed.failed + len(errors),
        )
        _report_place(passed)
    return passed


async def _look_at(
    things: Sequence[T],
    name: Callable[[T], str],
    look: Callable[[T], Awaitable[int]],
    passed: ScanProgress,
) -> tuple[int, list[Exception]]:
    """Check one page; return (found, errors)."""
    gate = asyncio.Semaphore(AT_ONCE)
    errors: list[Exception] = []

    async def one(thing: T) -> int:
        async with gate:
            if _is_outage(errors):
                return 0
            try:
                return await look(thing)
            except (SQLAlchemyError, RPCError) as error:
                _logger.exception("%s could not be looked at", name(thing))
                errors.append(error)
                return 0
            finally:
                _report_place(passed)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(thing)) for thing in things]
    return sum(task.result() for task in tasks), errors


def _is_outage(errors: Sequence[Exception]) -> bool:
    return sum(not took_too_long(error) for error in errors) > MOST_FAILURES


def _report_place(passed: ScanProgress) -> None:
    activity.heartbeat(*_place(passed))


def _place(passed: ScanProgress) -> tuple[object, ...]:
    return passed.after, passed.seen, passed.found, passed.failed
