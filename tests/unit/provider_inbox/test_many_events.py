"""However many events the provider has, they are read page by page, the oldest first."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from billing.platform.provider_inbox.webhooks import PAYMENT_EVENTS
from gateways.events import EventQuery, Listed, oldest_first
from gateways.list_limits import PAGE, TYPES_AT_ONCE
from tests.unit.provider_inbox.test_odd_events import NOW, Events, event, gateway, heard, names

HOUR = 3_600


def busy() -> list[dict[str, Any]]:
    """An hour in which a little happens, then a second in which much does, then little again."""
    quiet = [event(f"evt_{ago}", NOW - ago) for ago in range(0, HOUR, 7) if ago != 1_400]
    return quiet + [event(f"evt_b{number:04}", NOW - 1_400) for number in range(3 * PAGE + 1)]


async def test_nobody_holds_more_than_a_page_and_all_are_heard_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = busy()
    pages = await heard(gateway(Events(known), monkeypatch), HOUR)
    assert max(len(page.events) for page in pages) <= PAGE
    assert Counter(names(pages)) == Counter(one["id"] for one in known)


async def test_a_place_is_told_behind_which_nothing_of_before_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = busy()
    pages = await heard(gateway(Events(known), monkeypatch), HOUR)
    places = [(at, page.until) for at, page in enumerate(pages) if page.until is not None]
    assert len(places) > len(known) // PAGE
    assert all(one[1] < other[1] for one, other in pairwise(places))
    for at, until in places:
        before = {one["id"] for one in known if one["created"] <= until.timestamp()}
        assert set(names(pages[: at + 1])) == before


async def test_a_quiet_month_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events([event("evt_1", NOW - 5)])
    pages = await heard(gateway(events, monkeypatch), 30 * 24 * HOUR)
    assert names(pages) == ["evt_1"]
    assert len(events.asked) == len(PAYMENT_EVENTS) // TYPES_AT_ONCE + 1


async def test_a_burst_does_not_make_the_quiet_after_it_dear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    burst = [event(f"evt_b{number:04}", NOW - 20 * 24 * HOUR) for number in range(2 * PAGE)]
    rare = [event(f"evt_{hours}", NOW - hours * HOUR) for hours in range(19 * 24)]
    events = Events([*burst, *rare])
    pages = await heard(
        gateway(events, monkeypatch), 30 * 24 * HOUR, datetime.fromtimestamp(NOW, UTC)
    )
    assert len(names(pages)) == len(burst) + len(rare)
    assert len(events.asked) < 150


@pytest.mark.parametrize("answers", [Listed((), True), Listed(({"id": "evt_1"},), True)])
async def test_an_answer_that_promises_more_and_has_nothing_ends_its_second(
    answers: Listed,
) -> None:
    """The poll asked the same for as long as its run lasts, and no other run began."""
    asked: list[EventQuery] = []

    async def ask(question: EventQuery) -> Listed:
        asked.append(question)
        assert len(asked) < 100
        await asyncio.sleep(0)
        return answers if question.first <= 3 <= question.last else Listed((), False)

    pages = [page async for page in oldest_first(ask, 1, 4)]
    assert pages[-1].until == datetime.fromtimestamp(4, UTC)


async def test_only_what_a_matter_acts_on_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = [
        event(f"evt_{number}", NOW - 5) | {"type": "charge.succeeded"} for number in range(3 * PAGE)
    ]
    events = Events([*foreign, event("evt_ours", NOW - 5)])
    assert names(await heard(gateway(events, monkeypatch), 60)) == ["evt_ours"]
    assert all(len(asked["types"]) <= TYPES_AT_ONCE for asked in events.asked)
    assert set().union(*(asked["types"] for asked in events.asked)) == PAYMENT_EVENTS
