"""Queries on the inbox of provider events."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, exists, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared, given, written
from billing.matters.tables import matters
from billing.platform.provider_inbox.schemas import Waiting
from billing.platform.provider_inbox.tables import stripe_webhook_events as inbox

LONGEST_PAUSE: Final = timedelta(minutes=30)
"""The maximum time between two searches for an event's owner."""
_WAITING: Final = (
    inbox.c.stripe_event_id.label("event_id"),
    inbox.c.status,
    inbox.c.workflow_id,
    inbox.c.object_id,
    inbox.c.payload,
    inbox.c.received_at,
)
# The event itself, and what waited about its object before the look at `until`. Both instants are
# the database's.
_COVERED: Final = """
    cause.stripe_event_id = :event_id AND e.workflow_id = cause.workflow_id
    AND (e.stripe_event_id = cause.stripe_event_id
         OR (e.status = 'received' AND e.object_id = cause.object_id AND e.received_at <= :until))
"""
_MARK_LOOKED = Prepared(
    text(
        f"""
    UPDATE stripe_webhook_events e SET status = 'handled', dispatched_at = clock_timestamp()
    FROM stripe_webhook_events cause WHERE e.status = 'received' AND {_COVERED}
    """  # noqa: S608 - put together from constants
    )
)
_NEWEST = Prepared(
    text(
        f"""
    SELECT max(e.created_at) FROM stripe_webhook_events e, stripe_webhook_events cause
    WHERE {_COVERED}
    """  # noqa: S608 - put together from constants
    )
)
_MARK_OBJECT_HANDLED = Prepared(
    update(inbox)
    .where(
        inbox.c.object_id == given("object_id"),
        inbox.c.status == "received",
    )
    .values(status="handled", dispatched_at=func.now())
)
_KNOWN = Prepared(
    text(
        """
    SELECT stripe_event_id FROM stripe_webhook_events
    WHERE stripe_event_id = ANY (CAST(:event_ids AS text[]))
    """
    )
)
# Its index excludes events that are already empty.
_EMPTY = text(
    """
    UPDATE stripe_webhook_events e SET payload = '{}', emptied_at = clock_timestamp()
    FROM (SELECT stripe_event_id FROM stripe_webhook_events
          WHERE emptied_at IS NULL AND status IN ('handled', 'ignored') AND received_at < :before
          ORDER BY received_at LIMIT :limit FOR UPDATE SKIP LOCKED) page
    WHERE e.stripe_event_id = page.stripe_event_id
    """
)
EMPTY_PAGE: Final = 500
"""Events whose payloads are deleted in one transaction."""


async def known_among(connection: AsyncConnection, event_ids: Sequence[str]) -> set[str]:
    """Return those of the events that are stored already."""
    found = await _KNOWN.all(connection, event_ids=[*event_ids])
    return {row["stripe_event_id"] for row in found}


async def empty(connection: AsyncConnection, before: datetime) -> int:
    """Delete a page of payloads of handled events received before then; return how many."""
    return (await connection.execute(_EMPTY, {"before": before, "limit": EMPTY_PAGE})).rowcount


async def mark_object_handled(connection: AsyncConnection, object_id: str) -> None:
    """Mark the waiting events of an object handled: its final outcome is recorded."""
    await _MARK_OBJECT_HANDLED.run(connection, object_id=object_id)


async def mark_looked(connection: AsyncConnection, event_id: str, until: datetime) -> None:
    """Mark the events of one event's object handled, up to `until`: a later query covers them."""
    await _MARK_LOOKED.run(connection, event_id=event_id, until=until)


async def ignore_unmatched(
    connection: AsyncConnection, event_ids: Sequence[str], reason: str
) -> None:
    """Ignore those of these events that have no owner; they can still be replayed."""
    await connection.execute(
        update(inbox)
        .where(
            inbox.c.stripe_event_id.in_(event_ids),
            inbox.c.status.in_(("unmatched", "parked")),
        )
        .values(status="ignored", error=reason)
    )


async def subject_of(connection: AsyncConnection, event_id: str) -> str | None:
    """Return the provider's object that a stored event is about."""
    subject: str | None = await connection.scalar(
        select(inbox.c.object_id).where(inbox.c.stripe_event_id == event_id)
    )
    return subject


async def newest(connection: AsyncConnection, event_id: str, until: datetime) -> datetime | None:
    """Return when the provider made the newest event that `mark_looked` would mark handled."""
    found: datetime | None = await _NEWEST.scalar(connection, event_id=event_id, until=until)
    return found


async def waiting(
    connection: AsyncConnection, received_before: datetime, limit: int
) -> list[Waiting]:
    """Return events with an owner that were stored but never handled.

    Those of a halted matter are left out: it reads them itself when it looks at its rows. Sent
    again each time, they would crowd out others.
    """
    is_halted = exists().where(
        matters.c.workflow_id == inbox.c.workflow_id, matters.c.status == "halted"
    )
    rows = await connection.execute(
        select(*_WAITING)
        .where(
            inbox.c.status == "received",
            inbox.c.received_at < received_before,
            ~is_halted,
        )
        .order_by(inbox.c.received_at)
        .limit(limit)
    )
    return [Waiting.model_validate(dict(row)) for row in rows.mappings()]


async def unmatched(
    connection: AsyncConnection, received_before: datetime, at: datetime, limit: int
) -> list[Waiting]:
    """Return events without an owner that are due for another search, and defer their next one.

    Most belong to other users of the same Stripe account. Pauses double up to half an hour, and the
    query is separate from `waiting`, whose events these would crowd out.
    """
    event = inbox.c
    pause = func.least(event.dispatched_at - event.received_at, LONGEST_PAUSE)
    due = (
        select(event.stripe_event_id)
        .where(
            event.status == "unmatched",
            event.received_at < received_before,
            or_(event.dispatched_at.is_(None), event.dispatched_at + pause <= at),
        )
        .order_by(func.coalesce(event.dispatched_at, event.received_at))
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    rows = await connection.execute(
        update(inbox)
        .where(event.stripe_event_id == due.c.stripe_event_id)
        .values(dispatched_at=at)
        .returning(*_WAITING)
    )
    return [Waiting.model_validate(dict(row)) for row in rows.mappings()]


def listing(
    *,
    status: str | None = None,
    source: str | None = None,
    account_id: UUID | None = None,
    event_id: str | None = None,
) -> Select[Any]:
    """Select the inbox for operators; the caller adds order and limit."""
    query = select(inbox)
    if status is not None:
        query = query.where(inbox.c.status == written(status))
    if source is not None:
        query = query.where(inbox.c.source == source)
    if event_id is not None:
        query = query.where(inbox.c.stripe_event_id == event_id)
    return query if account_id is None else query.where(inbox.c.account_id == account_id)


async def park(connection: AsyncConnection, event_id: str, error: str) -> None:
    """Park a waiting event that needs an operator, with the reason [N6]: one without an owner after
    24 h, one that cannot be read, or one that tells of money which a restore put on a balance.
    """
    await connection.execute(
        update(inbox)
        .where(inbox.c.stripe_event_id == event_id, inbox.c.status.in_(("received", "unmatched")))
        .values(status="parked", error=error)
    )
