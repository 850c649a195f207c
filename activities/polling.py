"""The job `poll`: Stripe's events, read for those that never came by webhook."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy.exc import DataError
from temporalio.client import Client

from activities import notifying
from activities.signs_of_life import heartbeating
from billing.core.clock import agreed_now, real_now
from billing.core.database import Database
from billing.matters.schemas import Matter
from billing.money.payments import event_owners
from billing.platform.jobs import store as jobs
from billing.platform.provider_inbox import store as inbox
from billing.platform.provider_inbox.schemas import ProviderEvent
from gateways.events import readable
from gateways.provider import PaymentProvider
from workflows import start

# The first poll reads this far back.
FIRST_BACK: Final = timedelta(hours=2)
# An event may appear in the list some time after it was created.
POLL_BACK: Final = timedelta(minutes=15)
# Stripe keeps events for this long.
EVENTS_KEPT: Final = timedelta(days=30)
_logger = logging.getLogger("activities.polling")


@heartbeating()
async def poll(database: Database, provider: PaymentProvider, client: Client) -> dict[str, int]:
    """Read Stripe's events since shortly before the last run; the inbox recognizes new ones.
    After an outage the poll continues where it stopped.
    """
    missed = 0
    async with database.operator() as connection:
        now, known = await agreed_now(connection), await jobs.looked_until(connection)
    since = max(known["poll"] - POLL_BACK, now - EVENTS_KEPT)
    async for page in provider.events_between(since, now):
        missed += await _take_in(database, client, page.events)
        if page.until is not None:
            # The next run looks back by POLL_BACK, which this page needs only near `now`.
            async with database.operator() as connection:
                await jobs.looked(connection, "poll", min(page.until + POLL_BACK, now))
    return {"never_came": missed}


async def _take_in(database: Database, client: Client, events: Sequence[dict[str, Any]]) -> int:
    """Store a page, notify the owners of events that never came by webhook, and count these.

    Nearly all came: they are left out by their ids, because an insert would lock each row.
    """
    names = list(map(_name, events))
    async with database.operator() as connection:
        known = await inbox.known_among(connection, names) if names else set()
    page = readable([event for event in events if _name(event) not in known])
    owners = await _received(database, page) if page else []
    missed = [
        partial(start.notify_event, client, owner, event.event_id)
        for event, owner in zip(page, owners, strict=True)
        if owner is not None
    ]
    await notifying.call_each(missed)
    return len(missed)


def _name(event: dict[str, Any]) -> str:
    """Return the event's id, however odd, as Postgres can compare it."""
    return str(event["id"]).replace("\0", "")


async def _received(database: Database, page: Sequence[ProviderEvent]) -> Sequence[Matter | None]:
    """Store a page; skip an event that no column can hold, and log its id."""
    try:
        async with database.operator() as connection:
            return await event_owners.receive(connection, page, "poll", real_now())
    except DataError as error:
        if len(page) == 1:
            _logger.error("event %s cannot be stored: %s", page[0].event_id, error.orig)
            return [None]
    half = len(page) // 2
    return [*await _received(database, page[:half]), *await _received(database, page[half:])]
