"""Every query on the inbox of provider events and the outbox of our own."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy import bindparam, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, matters
from billing.core.prepared import Prepared, given
from billing.events.provider import PAYMENT_EVENTS, read
from billing.events.tables import stripe_webhook_events
from billing.payments import store as payments
from billing.payments.rules import ProviderEvent
from billing.payments.schemas import Payment

# Many events in one statement. The owner is the matter that collects the payment's invoice now,
# else the one we wrote into the object's metadata, else the account of a stored card (cards carry
# no metadata of ours). An event about money that is booked already
# has nothing more to say; while a try of ours is on its way nobody is woken: the try will tell, and
# should it die, the sweeper. Rows are taken in order of their ids, so batches cannot deadlock.
_RECEIVE = Prepared(
    text(
        """
    WITH input AS (
        SELECT DISTINCT ON (event_id) *, count(*) OVER (PARTITION BY event_id) AS copies
        FROM jsonb_to_recordset(:rows) AS r(event_id text, type text, object text, intent text,
             matter text, payload jsonb, relevant boolean, created_at timestamptz)
        ORDER BY event_id
    ), known AS (
        SELECT n.*, pay.settled, pay.deciding, m.workflow_id, m.account_id
        FROM input n
        LEFT JOIN LATERAL (
            SELECT i.workflow_id, p.settled_at IS NOT NULL AS settled,
                   EXISTS (SELECT FROM payment_attempts a
                           WHERE a.payment_id = p.id AND a.status = 'pending') AS deciding
            FROM payments p JOIN invoices i ON i.id = p.invoice_id
            WHERE p.stripe_payment_intent_id = n.intent
               OR p.stripe_checkout_session_id = n.object
            LIMIT 1) pay ON true
        LEFT JOIN matters m ON m.workflow_id = coalesce(pay.workflow_id, n.matter,
            (SELECT 'account/' || public_id('acc', account_id) FROM payment_methods
             WHERE stripe_payment_method_id = n.object))
        ORDER BY n.event_id
    ), stored AS (
        INSERT INTO stripe_webhook_events (stripe_event_id, account_id, workflow_id, type,
            object_id, payload, status, source, deliveries, created_at, received_at)
        SELECT event_id, account_id, workflow_id, type, object, payload,
               CASE WHEN NOT relevant THEN 'ignored' WHEN workflow_id IS NULL THEN 'unmatched'
                    WHEN settled THEN 'handled' ELSE 'received' END,
               :source, copies, created_at, :received_at
        FROM known
        ON CONFLICT (stripe_event_id) DO UPDATE
            SET deliveries = stripe_webhook_events.deliveries + excluded.deliveries
            -- Asking again for what is known is no delivery.
            WHERE excluded.source = 'webhook'
        RETURNING stripe_event_id, workflow_id, status = 'received' AND xmax = 0 AS fresh
    ), awake AS (
        SELECT workflow_id FROM matters
        WHERE workflow_id IN (
            SELECT s.workflow_id FROM stored s JOIN known k ON k.event_id = s.stripe_event_id
            WHERE s.fresh AND k.deciding IS NOT TRUE)
        ORDER BY workflow_id FOR NO KEY UPDATE
    ), woken AS (
        UPDATE matters m SET revision = m.revision + 1, closed_at = NULL,
            status = CASE m.status WHEN 'halted' THEN 'halted' ELSE 'open' END,
            next_due = least(coalesce(m.next_due, :received_at), :received_at),
            next_step = NULL, next_key = NULL, woken_at = :received_at, started_at = NULL
        FROM awake a WHERE m.workflow_id = a.workflow_id
        RETURNING m.*
    )
    SELECT s.stripe_event_id, w.* FROM stored s JOIN woken w ON w.workflow_id = s.workflow_id
    WHERE s.fresh
    """
    ).bindparams(bindparam("rows", type_=JSONB))
)


LONGEST_PAUSE: Final = timedelta(minutes=30)
"""Between two looks for the owner of an event."""
_WAITING: Final = (
    stripe_webhook_events.c.stripe_event_id.label("event_id"),
    stripe_webhook_events.c.status,
    stripe_webhook_events.c.workflow_id,
    stripe_webhook_events.c.object_id,
    stripe_webhook_events.c.payload,
    stripe_webhook_events.c.received_at,
)


class Waiting(BaseModel):
    """A stored event that still needs somebody to look at it."""

    model_config = ConfigDict(frozen=True)

    event_id: str
    status: str
    workflow_id: str | None
    object_id: str | None
    payload: dict[str, Any]
    received_at: AwareDatetime


_PAYMENT_OF = Prepared(
    text(
        """
    SELECT * FROM payments
    WHERE stripe_payment_intent_id =
              (SELECT object_id FROM stripe_webhook_events WHERE stripe_event_id = :event_id)
       OR stripe_checkout_session_id =
              (SELECT object_id FROM stripe_webhook_events WHERE stripe_event_id = :event_id)
    """
    )
)
_MARK_LOOKED = Prepared(
    text(
        """
    UPDATE stripe_webhook_events e SET status = 'handled', dispatched_at = clock_timestamp()
    FROM stripe_webhook_events told
    WHERE told.stripe_event_id = :event_id AND e.workflow_id = told.workflow_id
      AND e.status = 'received'
      AND (e.stripe_event_id = told.stripe_event_id
           OR (e.object_id = told.object_id AND e.received_at <= :until))
    """
    )
)
_MARK_TOLD = Prepared(
    update(stripe_webhook_events)
    .where(
        stripe_webhook_events.c.object_id == given("object_id"),
        stripe_webhook_events.c.status == "received",
    )
    .values(status="handled", dispatched_at=func.now())
)
_MARK_HANDLED = Prepared(
    update(stripe_webhook_events)
    .where(
        stripe_webhook_events.c.workflow_id == given("of_matter"),
        stripe_webhook_events.c.status == "received",
        or_(
            stripe_webhook_events.c.received_at <= given("until"),
            stripe_webhook_events.c.stripe_event_id == given("event_id"),
        ),
    )
    .values(status="handled", dispatched_at=func.now())
)
_MOVE = text(
    """
    UPDATE stripe_webhook_events e SET workflow_id = :workflow_id
    FROM payments p
    WHERE p.invoice_id = :invoice_id AND e.workflow_id = :before AND e.status = 'received'
      AND e.object_id IN (p.stripe_payment_intent_id, p.stripe_checkout_session_id)
    """
)


async def receive(
    connection: AsyncConnection, found: Sequence[ProviderEvent], source: str, at: datetime
) -> list[matters.Matter | None]:
    """Store events once each by id; per event the matter that must look at it, when new [N3].

    A known event only counts one more delivery. A closed matter is opened again.
    """
    rows = [
        {
            "event_id": event.event_id,
            "type": event.type,
            "object": event.object_id,
            "intent": event.intent_id,
            "matter": event.workflow_id,
            "payload": event.payload,
            "relevant": event.type in PAYMENT_EVENTS,
            "created_at": event.created_at.isoformat(),
        }
        for event in found
    ]
    told = await _RECEIVE.all(connection, rows=rows, source=source, received_at=at)
    owners = {row["stripe_event_id"]: matters.show(row) for row in told}
    # Of copies in one batch only the first has somebody to tell.
    return [owners.pop(event.event_id, None) for event in found]


async def payment_of(connection: AsyncConnection, event_id: str) -> Payment | None:
    """The payment a stored event speaks of."""
    row = await _PAYMENT_OF.first(connection, event_id=event_id)
    return payments.show(row) if row else None


async def owner_of(connection: AsyncConnection, event_id: str) -> matters.Matter | None:
    """The matter that must look at a stored event."""
    workflow_id = await connection.scalar(
        select(stripe_webhook_events.c.workflow_id).where(
            stripe_webhook_events.c.stripe_event_id == event_id
        )
    )
    return await matters.find(connection, workflow_id) if workflow_id else None


async def mark_handled(
    connection: AsyncConnection, workflow_id: str, until: datetime, event_id: str | None = None
) -> None:
    """The matter asked the provider after `until`: what came before is dealt with, and this."""
    await _MARK_HANDLED.run(connection, of_matter=workflow_id, until=until, event_id=event_id)


async def mark_told(connection: AsyncConnection, object_id: str) -> None:
    """The provider's final word on this object is recorded: what it told before is dealt with."""
    await _MARK_TOLD.run(connection, object_id=object_id)


async def mark_looked(connection: AsyncConnection, event_id: str, until: datetime) -> None:
    """Of several objects that a matter looks after, this event's was asked about after `until`."""
    await _MARK_LOOKED.run(connection, event_id=event_id, until=until)


async def move(
    connection: AsyncConnection, invoice_id: UUID, before: str, workflow_id: str
) -> None:
    """Another matter collects the invoice now: it looks into what came for it, too."""
    await connection.execute(
        _MOVE, {"invoice_id": invoice_id, "before": before, "workflow_id": workflow_id}
    )


async def subject_of(connection: AsyncConnection, event_id: str) -> str | None:
    """The provider's object a stored event is about."""
    subject: str | None = await connection.scalar(
        select(stripe_webhook_events.c.object_id).where(
            stripe_webhook_events.c.stripe_event_id == event_id
        )
    )
    return subject


async def waiting(
    connection: AsyncConnection, received_before: datetime, limit: int
) -> list[Waiting]:
    """Events of ours that were left: stored, but never looked into."""
    rows = await connection.execute(
        select(*_WAITING)
        .where(
            stripe_webhook_events.c.status == "received",
            stripe_webhook_events.c.received_at < received_before,
        )
        .order_by(stripe_webhook_events.c.received_at)
        .limit(limit)
    )
    return [Waiting.model_validate(dict(row)) for row in rows.mappings()]


async def unmatched(
    connection: AsyncConnection, received_before: datetime, at: datetime, limit: int
) -> list[Waiting]:
    """Events without an owner so far that are to be matched again; the next look is put off.

    Most are of others who use the same Stripe account: looked for with pauses that double up to
    half an hour, and apart from ours, which they would crowd out.
    """
    event = stripe_webhook_events.c
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
        update(stripe_webhook_events)
        .where(event.stripe_event_id == due.c.stripe_event_id)
        .values(dispatched_at=at)
        .returning(*_WAITING)
    )
    return [Waiting.model_validate(dict(row)) for row in rows.mappings()]


async def find_owner(connection: AsyncConnection, event: Waiting) -> matters.Matter | None:
    """The matter that must look at a left event; one without an owner is matched again."""
    if event.workflow_id is None:
        known = read(event.payload)
        payment = await payments.find_intent(connection, known.intent_id or known.object_id or "")
        workflow_id = payment.workflow_id if payment else known.workflow_id
        owner = await matters.find(connection, workflow_id) if workflow_id else None
        if owner is not None:
            await connection.execute(
                update(stripe_webhook_events)
                .where(stripe_webhook_events.c.stripe_event_id == event.event_id)
                .values(
                    account_id=owner.account_id,
                    workflow_id=owner.workflow_id,
                    status="received",
                    dispatched_at=None,
                )
            )
    else:
        owner = await matters.find(connection, event.workflow_id)
    if owner is not None:
        await matters.wake(connection, owner.workflow_id, event.received_at)
    return owner


async def park(connection: AsyncConnection, event_id: str, error: str) -> None:
    """Nobody's after 24 h: kept for inspection, with the reason [N6]."""
    await connection.execute(
        update(stripe_webhook_events)
        .where(stripe_webhook_events.c.stripe_event_id == event_id)
        .values(status="parked", error=error)
    )


def external(event_row: dict[str, Any]) -> dict[str, Any]:
    """An inbox row for operators."""
    account_id = event_row["account_id"]
    return {
        "event_id": event_row["stripe_event_id"],
        "type": event_row["type"],
        "status": event_row["status"],
        "deliveries": event_row["deliveries"],
        "account_id": ids.encode(ids.ACCOUNT, account_id) if account_id else None,
        "workflow_id": event_row["workflow_id"],
        "received_at": event_row["received_at"],
        "error": event_row["error"],
    }
