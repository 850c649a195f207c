"""The provider's list of events, read around the odd one that nobody can read."""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from billing.platform.provider_inbox.schemas import ProviderEvent
from billing.platform.provider_inbox.webhooks import read

_logger = logging.getLogger("gateways.events")


class Unreadable(Exception):
    """An answer that is no JSON a program can hold: one of its events is odd."""


async def around_the_unreadable(
    page: Callable[[Any], Awaitable[list[ProviderEvent]]], first: int, last: int
) -> list[ProviderEvent]:
    """Events of these seconds, newest first.

    What cannot be read is asked for in halves, until the one odd event stands alone.
    """
    try:
        return await page({"gte": first, "lte": last})
    except Unreadable:
        if first == last:
            _logger.error("an event of %s cannot be read", datetime.fromtimestamp(first, UTC))
            return []
    middle = (first + last) // 2
    later = await around_the_unreadable(page, middle + 1, last)
    return [*later, *await around_the_unreadable(page, first, middle)]


def readable(event_id: str, payload: dict[str, Any]) -> list[ProviderEvent]:
    """The event, or nothing when it is none; its id is in the log then."""
    try:
        return [read(payload)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _logger.error("event %s cannot be read: %s", event_id, type(error).__name__)
        return []
