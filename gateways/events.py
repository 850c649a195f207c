"""The provider's list of events, from the oldest on, read around the odd one that nobody can read.

The list itself begins with the newest. Spans of time that a page can hold are read one after the
other, so nobody has to hold more than that, and whoever is cut off goes on from the last one.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from billing.platform.provider_inbox.schemas import ProviderEvent
from billing.platform.provider_inbox.webhooks import PAYMENT_EVENTS, read
from gateways.provider import EventPage

PAGE: Final = 100
TYPES_AT_ONCE: Final = 20
"""Stripe gives no more events in one answer, and takes no more types in one question."""
_TYPES: Final = sorted(PAYMENT_EVENTS)
GROUPS: Final = tuple(
    tuple(_TYPES[first : first + TYPES_AT_ONCE]) for first in range(0, len(_TYPES), TYPES_AT_ONCE)
)
"""The types that a matter acts on; nobody else's fill the pages."""
_logger = logging.getLogger("gateways.events")


class Unreadable(Exception):
    """An answer that is no JSON a program can hold: one of its events is odd."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: types, the first and the last second, and the event that it goes on behind."""

    types: Sequence[str]
    first: int
    last: int
    behind: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """An answer, newest first; `last` is the id of its oldest event, readable or not."""

    events: Sequence[ProviderEvent]
    last: str | None
    has_more: bool


Ask = Callable[[Asked], Awaitable[Listed]]


async def oldest_first(ask: Ask, first: int, last: int) -> AsyncIterator[EventPage]:
    """Pages of the events of these seconds. A span that does not fit, or that has an odd event in
    it, is asked for in halves.
    """
    span = last - first + 1
    while first <= last:
        end = min(first + span - 1, last)
        found = await _whole(ask, first, end)
        if found is None and first < end:
            span = (end - first + 1) // 2
            continue
        if found is None:
            async for page in _second(ask, first):
                yield page
        elif len(found) <= PAGE // 2:
            span *= 2
        yield EventPage(found or (), until=datetime.fromtimestamp(end, UTC))
        first = end + 1


async def _whole(ask: Ask, first: int, last: int) -> list[ProviderEvent] | None:
    """All events of a span, where one page of each group holds them."""
    found: list[ProviderEvent] = []
    for types in GROUPS:
        try:
            listed = await ask(Asked(types, first, last))
        except Unreadable:
            return None
        if listed.has_more:
            return None
        found += reversed(listed.events)
    return found


async def _second(ask: Ask, second: int) -> AsyncIterator[EventPage]:
    """The pages of one second; what is behind a page that cannot be read, or that promises more and
    has nothing, stays unknown.
    """
    moment = datetime.fromtimestamp(second, UTC)
    for types in GROUPS:
        behind, has_more = None, True
        while has_more:
            try:
                listed = await ask(Asked(types, second, second, behind))
            except Unreadable:
                _logger.error("an event of %s cannot be read", moment)
                break
            yield EventPage(listed.events[::-1])
            has_more = listed.has_more
            if has_more and listed.last in (None, behind):
                _logger.error("of the events of %s some were not answered", moment)
                break
            behind = listed.last


def readable(event_id: str, payload: dict[str, Any]) -> list[ProviderEvent]:
    """The event, or nothing when it is none; its id is in the log then."""
    try:
        return [read(payload)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _logger.error("event %s cannot be read: %s", event_id, type(error).__name__)
        return []
