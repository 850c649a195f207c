"""Passes over many things, page by page, with signs of life meanwhile.

`pass_over` looks at everything there is, a few things at once; its place is told with each sign, so
that another try goes on from there. `drain` takes what is to go, until there is none; `drain_along`
does so in an order. `each_apart` does the parts of a job, whatever becomes of the others.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity
from temporalio.service import RPCError

from activities.signs_of_life import told_alive
from billing.core.database import Database
from billing.core.database_errors import took_too_long

AT_ONCE: Final = 4
"""Things looked at together: a part of what the pools and Temporal can bear."""
MOST_FAILURES: Final = 20
"""On one page; with more of them the database or Temporal is away, and the pass waits for it. What
took too long is a matter of that thing alone, and does not count.
"""
T = TypeVar("T")
K = TypeVar("K", str, UUID)
_logger = logging.getLogger("activities.paged_scan")


class Undone(Exception):
    """Parts of a job that failed, by their names; another try does them again."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The progress of a pass: the last item of its last whole page, and its sums so far."""

    after: str = ""
    seen: int = 0
    found: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Things to look at, among so many that were read; `last` is the name of the last one read."""

    things: Sequence[T]
    read: int
    last: str

    @classmethod
    def whole(cls, things: Sequence[T], name: Callable[[T], str]) -> "Page[T]":
        """A page of which everything is to be looked at."""
        return cls(things, len(things), name(things[-1]) if things else "")


async def drain(database: Database, page: Callable[[AsyncConnection], Awaitable[int]]) -> int:
    """Take pages, each in a transaction of its own, until one is empty; how many things in all.

    `page` answers how many it took. What is taken is not found again, so another try goes on from
    there without a place.
    """
    total, taken = 0, 1
    while taken:
        async with told_alive(), database.operator() as connection:
            taken = await page(connection)
        total += taken
        activity.heartbeat()
    return total


async def drain_along(
    database: Database,
    page: Callable[[AsyncConnection, K], Awaitable[tuple[int, K | None]]],
    after: K,
) -> int:
    """Take pages in an order, each in a transaction of its own; how many things in all.

    `page` answers how many it took of those behind a place, and where the next one begins, or None
    where there are no more. So what was just taken is not read again.
    """
    total, place = 0, after
    while True:
        async with told_alive(), database.operator() as connection:
            taken, last = await page(connection, place)
        total += taken
        activity.heartbeat()
        if last is None:
            return total
        place = last


async def each_apart(parts: Mapping[str, Callable[[], Awaitable[int]]]) -> dict[str, int]:
    """Do the parts of a job one after the other, and tell what each counted.

    Errors: Undone names those that failed, when all the others are done.
    """
    counts: dict[str, int] = {}
    failed: dict[str, Exception] = {}
    for name, part in parts.items():
        try:
            counts[name] = await part()
        except Exception as error:
            _logger.exception("%s could not be done", name)
            failed[name] = error
    if failed:
        words = ", ".join(f"{name} ({type(error).__name__})" for name, error in failed.items())
        raise Undone(f"not done: {words}") from next(iter(failed.values()))
    return counts


async def pass_over(
    page: Callable[[str], Awaitable[Page[T]]],
    name: Callable[[T], str],
    look: Callable[[T], Awaitable[int]],
) -> Passed:
    """Look at everything, from where an earlier try of this activity stood.

    `page` answers what is to be looked at of the things after a name, in order; `look` what it
    found at one of them. What cannot be looked at is logged and counted, and left to the next pass.
    """
    passed = Passed(*activity.info().heartbeat_details)
    while (one := await page(passed.after)).read:
        found, errors = await _look_at(one.things, name, look, passed)
        if _is_outage(errors):
            raise next(error for error in errors if not took_too_long(error))
        passed = Passed(
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
    passed: Passed,
) -> tuple[int, list[Exception]]:
    """(found, what went wrong) on one page."""
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


def _report_place(passed: Passed) -> None:
    activity.heartbeat(passed.after, passed.seen, passed.found, passed.failed)
