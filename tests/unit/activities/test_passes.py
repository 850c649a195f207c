"""A pass reaches the last thing there is, whatever ends its tries on the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from temporalio.testing import ActivityEnvironment

from activities import integrity, signs_of_life, usage_sync
from activities.paged_scan import (
    AT_ONCE,
    MOST_FAILURES,
    ScannedPage,
    ScanProgress,
    Undone,
    drain_each,
    pass_over,
)
from billing.insight.integrity import openings
from billing.insight.rounds import store as rounds

PAGE = 50
THINGS = [f"{number:04}" for number in range(4 * PAGE + 7)]
BEAT: Final = 0.01
LONG: Final = 20 * BEAT


class Place:
    """A place of a scan, and the heartbeats that Temporal gets meanwhile."""

    def __init__(self, *told: Any) -> None:
        self.environment = ActivityEnvironment()
        self.environment.info = replace(self.environment.info, heartbeat_details=told)
        self.environment.on_heartbeat = lambda *details: self.told.append(details)
        self.told: list[tuple[Any, ...]] = []
        self.looked: list[str] = []
        self.bad: set[str] = set()
        self.why = Exception("the database is away")
        self.together = self.most_together = 0

    async def page(self, after: str) -> ScannedPage[str]:
        return ScannedPage.whole([thing for thing in THINGS if thing > after][:PAGE], str)

    async def look(self, thing: str) -> int:
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        await asyncio.sleep(0)
        self.together -= 1
        if thing in self.bad:
            raise OperationalError("a statement", None, self.why)
        self.looked.append(thing)
        return 2

    async def run(self) -> ScanProgress:
        return await self.environment.run(pass_over, self.page, str, self.look)


async def test_a_pass_sees_everything_a_few_at_once() -> None:
    place = Place()
    passed = await place.run()
    assert sorted(place.looked) == THINGS
    assert passed == ScanProgress(THINGS[-1], len(THINGS), 2 * len(THINGS))
    assert place.most_together == AT_ONCE
    assert len(place.told) > len(THINGS), "it is alive at each of them"


async def test_another_try_goes_on_from_the_last_whole_page() -> None:
    first = Place()
    page = first.page

    async def away(after: str) -> ScannedPage[str]:
        if after == THINGS[2 * PAGE - 1]:
            raise OperationalError("a page", None, Exception("the database is away"))
        return await page(after)

    first.page = away  # type: ignore[method-assign]
    with pytest.raises(OperationalError):
        await first.run()
    second = Place(*first.told[-1])
    passed = await second.run()
    assert sorted(second.looked) == THINGS[2 * PAGE :]
    assert passed == ScanProgress(THINGS[-1], len(THINGS), 2 * len(THINGS)), "the sums go on, too"


async def test_a_try_that_ends_within_a_page_repeats_that_page() -> None:
    first = Place()
    await first.run()
    within = next(n for n, told in enumerate(first.told) if told[0] == THINGS[PAGE - 1])
    second = Place(*first.told[within + PAGE // 2])
    await second.run()
    assert sorted(second.looked) == THINGS[PAGE:]


async def test_a_page_with_nothing_to_look_at_is_passed_and_counted() -> None:
    place = Place()
    page = place.page

    async def few(after: str) -> ScannedPage[str]:
        one = await page(after)
        return ScannedPage([thing for thing in one.things if thing < THINGS[3]], one.read, one.last)

    place.page = few  # type: ignore[method-assign]
    passed = await place.run()
    assert sorted(place.looked) == THINGS[:3]
    assert passed == ScanProgress(THINGS[-1], len(THINGS), 2 * 3)
    assert place.told[-1][0] == THINGS[-1]


async def test_what_cannot_be_looked_at_keeps_nothing_else_back() -> None:
    place = Place()
    place.bad = {THINGS[3], THINGS[-1]}
    passed = await place.run()
    assert sorted(place.looked) == [thing for thing in THINGS if thing not in place.bad]
    assert (passed.after, passed.failed) == (THINGS[-1], 2)


async def test_where_much_fails_the_pass_stands_and_waits() -> None:
    place = Place()
    place.bad = set(THINGS[PAGE:])
    with pytest.raises(OperationalError):
        await place.run()
    assert place.told[-1][0] == THINGS[PAGE - 1]
    assert len(place.told) <= 2 * PAGE + 1
    assert MOST_FAILURES < PAGE


async def test_what_takes_too_long_is_no_outage() -> None:
    place = Place()
    place.bad, place.why = set(THINGS[PAGE:]), psycopg.errors.QueryCanceled()
    passed = await place.run()
    assert sorted(place.looked) == THINGS[:PAGE]
    assert (passed.after, passed.failed) == (THINGS[-1], len(place.bad))


async def test_an_item_that_takes_long_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another try began the same page, again and again: nothing behind it was looked at."""
    monkeypatch.setattr(signs_of_life, "BEAT_SECONDS", BEAT)
    place, meanwhile = Place(), list[tuple[Any, ...]]()
    look = place.look

    async def slowly(thing: str) -> int:
        if thing == THINGS[2 * PAGE - 1]:
            await asyncio.sleep(LONG)  # the others of its page are done
            before = len(place.told)
            await asyncio.sleep(LONG)
            meanwhile.extend(place.told[before:])
        return await look(thing)

    place.look = slowly  # type: ignore[method-assign]
    await place.run()
    assert len(meanwhile) > 2
    assert {told[0] for told in meanwhile} == {THINGS[PAGE - 1]}, "another try repeats this page"


class Over(Exception):
    """The accounts are marked."""


@pytest.mark.parametrize("job", [integrity.check, usage_sync.compare])
async def test_to_mark_what_is_looked_at_is_no_silence(
    monkeypatch: pytest.MonkeyPatch, job: Callable[..., Awaitable[dict[str, int]]]
) -> None:
    """One statement may take as long as a silence may, and there are several."""

    async def slowly(*_: Any) -> tuple[UUID, UUID]:
        await asyncio.sleep(LONG)
        return UUID(int=0), UUID(int=1)

    async def over(*_: Any) -> None:
        raise Over

    monkeypatch.setattr(signs_of_life, "BEAT_SECONDS", BEAT)
    monkeypatch.setattr(rounds, "note", slowly)
    monkeypatch.setattr(openings, "in_turn", slowly)
    monkeypatch.setattr(rounds, "page", over)
    place = Place()
    with pytest.raises(Over):
        await place.environment.run(job, Drained("none", Exception()), 500)
    assert len(place.told) > 2
    assert set(place.told) == {()}, "another try marks them anew"


class Drained:
    """A database whose transactions hold nothing, and the things that are taken in them."""

    def __init__(self, bad: str, why: Exception, parts: int = 1) -> None:
        self.taken: list[str] = []
        self.parts = parts
        self._bad, self._why = bad, why

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[None]:
        yield

    async def following(self, _: Any, after: str) -> tuple[str, int, int] | None:
        return next(((thing, 3, self.parts) for thing in THINGS[:9] if thing > after), None)

    async def take(self, _: Any, thing: str) -> None:
        if thing == self._bad:
            raise OperationalError("a statement", None, self._why)
        self.taken.append(thing)

    async def run(self) -> int:
        database: Any = self
        return await ActivityEnvironment().run(drain_each, database, self.following, self.take, "")


async def test_a_thing_that_cannot_be_taken_is_left_and_told_after_all_others() -> None:
    place = Drained(THINGS[4], psycopg.errors.QueryCanceled("timeout"))
    with pytest.raises(Undone, match=f"1 not done, such as {THINGS[4]}"):
        await place.run()
    assert place.taken == [one for one in THINGS[:9] if one != THINGS[4]]
    assert await Drained("none", Exception()).run() == 27


async def test_nothing_more_is_taken_while_the_database_is_away() -> None:
    place = Drained(THINGS[4], psycopg.OperationalError("no connection"))
    with pytest.raises(OperationalError):
        await place.run()
    assert place.taken == THINGS[:4]


async def test_a_thing_with_more_items_than_can_be_taken_at_once_is_taken_again() -> None:
    place = Drained("none", Exception(), parts=2)
    assert await place.run() == 27
    assert place.taken == [one for one in THINGS[:9] for _ in range(2)]
