"""The job `sweep`: what crashes and lost notifications left behind, once a minute."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio.client import Client

from activities import missing_runs, notifying, resting
from activities.paged_scan import each_apart
from activities.signs_of_life import heartbeating
from billing.core.clock import agreed_now
from billing.core.database import Database
from billing.core.database_errors import database_is_away
from billing.core.errors import Unavailable
from billing.matters import sweeps
from billing.matters.schemas import Matter
from billing.money.payments import event_owners
from billing.money.restores import service as restores
from billing.money.subscriptions import thresholds
from billing.platform.accounts import store as accounts
from billing.platform.provider_inbox import store as inbox
from billing.platform.provider_inbox.rules import PARK_AFTER
from billing.platform.provider_inbox.schemas import Waiting
from workflows import start, visibility
from workflows.policies import POLICIES

T = TypeVar("T")
Found = Callable[[AsyncConnection], Awaitable[Sequence[T]]]
_logger = logging.getLogger("activities.leftovers")


@heartbeating()
async def wake(database: Database, client: Client, limit: int) -> dict[str, int]:
    """Wake the matters that need it: never started or notified, resting, overdue, or halted without
    a run or with something else to do. Also handle leftover events, billing thresholds and clock
    walks.

    No part waits for another.
    """
    async with database.operator() as connection:
        now = await agreed_now(connection)
    left, late = now - POLICIES.left_behind, now - POLICIES.overdue
    return await each_apart(
        {
            # First: nothing else starts what rests.
            "rested": lambda: resting.wake(database, client, limit),
            "left_behind": lambda: _nudge(
                database, client, lambda c: sweeps.left_behind(c, left, limit)
            ),
            "halted_left_behind": lambda: _nudge(
                database, client, lambda c: sweeps.halted_left_behind(c, left, limit)
            ),
            "overdue": lambda: _hurry(database, client, late, limit),
            "thresholds": lambda: _nudge(database, client, lambda c: thresholds.waiting(c, limit)),
            "walks": lambda: _walk(database, client),
            "echoes": lambda: _handle_echoes(database, left, limit),
            "strays": lambda: _dispatch_each(
                database, client, lambda c: inbox.unmatched(c, left, now, limit)
            ),
            "events": lambda: _dispatch_each(
                database, client, lambda c: inbox.waiting(c, left, limit)
            ),
            # Last: it asks Temporal for each of them, page by page, and there may be very many.
            "halted": lambda: _begin_halted(database, client, limit),
        }
    )


async def _nudge(database: Database, client: Client, page: Found[Matter]) -> int:
    async with database.operator() as connection:
        found = await page(connection)
    return await notifying.nudge(client, found)


async def _hurry(database: Database, client: Client, due_before: datetime, limit: int) -> int:
    """Wake overdue matters, and have those that are halted in Temporal try again: the register does
    not know of the halt if the database was away as it began.
    """
    found = await _overdue(database, due_before, limit)
    names = [matter.workflow_id for matter in found]
    halted = await notifying.tried(visibility.halted_among(client, names)) or ()
    if halted:  # one that halted just now is noted by now: it ended a round of tries
        found = await _overdue(database, due_before, limit)
    return await notifying.call_each(
        partial(_try_again if one.workflow_id in halted else start.nudge, client, one)
        for one in found
    )


async def _overdue(database: Database, due_before: datetime, limit: int) -> list[Matter]:
    async with database.operator() as connection:
        return await sweeps.overdue(connection, due_before, limit)


async def _try_again(client: Client, matter: Matter) -> None:
    """Have a matter try its failed steps now; wake one that is not halted after all."""
    with suppress(Unavailable):
        if await start.resume(client, matter):
            return
    await start.nudge(client, matter)


async def _walk(database: Database, client: Client) -> int:
    """Start the walks whose requests failed to start them; nothing else does."""
    async with database.operator() as connection:
        walking = await accounts.advancing(connection)
    return await notifying.call_each(
        partial(start.walk, client, account_id, is_new=False) for account_id in walking
    )


async def _handle_echoes(database: Database, received_before: datetime, limit: int) -> int:
    async with database.operator() as connection:
        return await event_owners.handle_echoes(connection, received_before, limit)


async def _dispatch_each(database: Database, client: Client, page: Found[Waiting]) -> int:
    """Notify the owners of leftover events; return how many.

    An event whose owner's row is locked waits for the next run, with all others of this owner.
    """
    async with database.operator() as connection:
        found = await page(connection)
    stuck, notified = set[str](), 0
    for event in found:
        if event.workflow_id in stuck:
            continue
        try:
            notified += await notifying.tried(_dispatch(database, client, event)) or 0
        except SQLAlchemyError as error:
            if database_is_away(error):
                raise
            _logger.exception("event %s could not be dispatched", event.event_id)
            stuck |= {event.workflow_id} if event.workflow_id else set()
    return notified


async def _dispatch(database: Database, client: Client, event: Waiting) -> int:
    """Notify the event's owner; park an event that has no owner after a day, and at once one that
    tells an operator to act.
    """
    async with database.operator() as connection:
        try:
            owner = await event_owners.find_owner(connection, event)
            if owner is None and await restores.set_aside(connection, event):
                return 0
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            await inbox.park(connection, event.event_id, f"unreadable: {error!r}"[:200])
            return 0
        if owner is None:
            if event.received_at < await agreed_now(connection) - PARK_AFTER:
                hours = PARK_AFTER // timedelta(hours=1)
                await inbox.park(connection, event.event_id, f"no owner within {hours} h")
            return 0
    await start.notify_event(client, owner, event.event_id)
    return 1


async def _begin_halted(database: Database, client: Client, limit: int) -> int:
    """Restart halted matters whose run was terminated, from their rows. Return how many.

    Other halted matters retry by themselves.
    """
    after, asked = "", 0
    while True:
        async with database.operator() as connection:
            found = await sweeps.halted_page(connection, after, limit)
        missing = await notifying.tried(missing_runs.without_run(client, found))
        if not found or missing is None:
            return asked
        asked += await notifying.begin(client, missing)
        after = found[-1].workflow_id
