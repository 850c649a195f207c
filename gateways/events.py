"""The provider's list of events, read oldest first and past any event that cannot be read.

The list itself is newest first. So it is read in spans of time that fit on a page: no caller needs
more memory than that, and an interrupted one continues after the last span.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from billing.platform.provider_inbox.schemas import ProviderEvent
from billing.platform.provider_inbox.webhooks import PAYMENT_EVENTS, read
from gateways import list_limits
from gateways.provider import EventPage

_TYPES: Final = sorted(PAYMENT_EVENTS)
GROUPS: Final = tuple(
    tuple(_TYPES[first : first + list_limits.TYPES_AT_ONCE])
    for first in range(0, len(_TYPES), list_limits.TYPES_AT_ONCE)
)
"""The event types that matters act on, so that no others fill the pages."""
_logger = logging.getLogger("gateways.events")


class Unreadable(Exception):
    """An answer whose JSON cannot be parsed, because of one of its events."""


@dataclass(frozen=True, slots=True)
class EventQuery:
    """A query: types, the first and the last second, and the event after which it continues."""

    types: Sequence[str]
    first: int
    last: int
    behind: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """An answer, newest first."""

    events: Sequence[dict[str, Any]]
    has_more: bool

    @property
    def last(self) -> str | None:
        """The id of the oldest event."""
        return self.events[-1]["id"] if self.events else None


Ask = Callable[[EventQuery], Awaitable[Listed]]


async def oldest_first(ask: Ask, first: int, last: int) -> AsyncIterator[EventPage]:
    """Yield pages of the events of these seconds. A span that does not fit on a page, or has an
    unreadable event, is halved.
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
        elif len(found) <= list_limits.PAGE // 2:
            span *= 2
        yield EventPage(found or (), until=datetime.fromtimestamp(end, UTC))
        first = end + 1


async def _whole(ask: Ask, first: int, last: int) -> list[dict[str, Any]] | None:
    """Return all events of a span; None if a group needs more than one page or is unreadable."""
    found: list[dict[str, Any]] = []
    for types in GROUPS:
        try:
            listed = await ask(EventQuery(types, first, last))
        except Unreadable:
            return None
        if listed.has_more:
            return None
        found += reversed(listed.events)
    return found


async def _second(ask: Ask, second: int) -> AsyncIterator[EventPage]:
    """Yield the pages of one second. Events behind an unreadable page, or behind one that announces
    more and gives nothing new, are skipped.
    """
    moment = datetime.fromtimestamp(second, UTC)
    for types in GROUPS:
        behind, has_more = None, True
        while has_more:
            try:
                listed = await ask(EventQuery(types, second, second, behind))
            except Unreadable:
                _logger.error("an event of %s cannot be read", moment)
                break
            yield EventPage(listed.events[::-1])
            has_more = listed.has_more
            if has_more and listed.last in (None, behind):
                _logger.error("of the events of %s some were not answered", moment)
                break
            behind = listed.last


def readable(events: Sequence[dict[str, Any]]) -> list[ProviderEvent]:
    """Parse events; leave out those that cannot be read, with their ids in the log."""
    return [one for event in events for one in _readable(event)]


def _readable(event: dict[str, Any]) -> list[ProviderEvent]:
    try:
        return [read(event)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _logger.error("event %s cannot be read: %s", event["id"], type(error).__name__)
        return []
