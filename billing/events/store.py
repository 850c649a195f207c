"""Every query on the inbox of provider events and the outbox of our own."""

from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, matters
from billing.events.provider import PAYMENT_EVENTS, read
from billing.events.tables import stripe_webhook_events
from billing.payments import store as payments
from billing.payments.rules import ProviderEvent
from billing.payments.schemas import Payment

# The owner is the matter that collects the payment's invoice now, else the one we wrote into the
# object's metadata, else the account of a stored card (cards carry no metadata of ours). An event
# about money that is booked already has nothing more to say.
_RECEIVE = text(
    """
    WITH payment AS (
        SELECT i.workflow_id, p.settled_at IS NOT NULL AS settled
        FROM payments p JOIN invoices i ON i.id = p.invoice_id
        WHERE p.stripe_payment_intent_id = :intent OR p.stripe_checkout_session_id = :object
        LIMIT 1
    ), owner AS (
        SELECT m.workflow_id, m.account_id,
               coalesce((SELECT settled FROM payment), false) AS settled
        FROM matters m
        WHERE m.workflow_id = coalesce(
            (SELECT workflow_id FROM payment), :matter,
            (SELECT 'account/' || public_id('acc', account_id) FROM payment_methods
             WHERE stripe_payment_method_id = :object))
    ), stored AS (
        INSERT INTO stripe_webhook_events (stripe_event_id, account_id, workflow_id, type,
            object_id, payload, status, source, created_at, received_at)
        SELECT :event_id, o.account_id, o.workflow_id, :type, :object, :payload,
               CASE WHEN NOT :relevant THEN 'ignored' WHEN o.workflow_id IS NULL THEN 'unmatched'
                    WHEN o.settled THEN 'handled' ELSE 'received' END,
               :source, :created_at, :received_at
        FROM (SELECT 1) AS one LEFT JOIN owner o ON true
        ON CONFLICT (stripe_event_id) DO UPDATE
            SET deliveries = stripe_webhook_events.deliveries + 1
        RETURNING workflow_id, status = 'received' AND deliveries = 1 AS fresh
    ), woken AS (
        UPDATE matters m SET revision = m.revision + 1, status = 'open', closed_at = NULL,
            next_due = least(coalesce(m.next_due, :received_at), :received_at),
            next_step = NULL, next_key = NULL, woken_at = :received_at, started_at = NULL
        FROM stored s WHERE s.fresh AND m.workflow_id = s.workflow_id
    )
    SELECT fresh, workflow_id FROM stored
    """
).bindparams(bindparam("payload", type_=JSONB))


class Waiting(BaseModel):
    """A stored event that still needs somebody to look at it."""

    model_config = ConfigDict(frozen=True)

    event_id: str
    status: str
    workflow_id: str | None
    object_id: str | None
    payload: dict[str, Any]
    received_at: AwareDatetime


async def receive(
    connection: AsyncConnection, event: ProviderEvent, source: str, at: datetime
) -> matters.Matter | None:
    """Store an event once by its id; the matter that must look at it, when it is new [N3].

    A known event only counts one more delivery. A closed matter is opened again.
    """
    row = (
        await connection.execute(
            _RECEIVE,
            {
                "event_id": event.event_id,
                "type": event.type,
                "object": event.object_id,
                "intent": event.intent_id,
                "matter": event.workflow_id,
                "payload": event.payload,
                "relevant": event.type in PAYMENT_EVENTS,
                "source": source,
                "created_at": event.created_at,
                "received_at": at,
            },
        )
    ).one()
    return await matters.find(connection, row.workflow_id) if row.fresh else None


async def payment_of(connection: AsyncConnection, event_id: str) -> Payment | None:
    """The payment a stored event speaks of."""
    object_id = await connection.scalar(
        select(stripe_webhook_events.c.object_id).where(
            stripe_webhook_events.c.stripe_event_id == event_id
        )
    )
    return await payments.find_intent(connection, object_id) if object_id else None


async def owner_of(connection: AsyncConnection, event_id: str) -> matters.Matter | None:
    """The matter that must look at a stored event."""
    workflow_id = await connection.scalar(
        select(stripe_webhook_events.c.workflow_id).where(
            stripe_webhook_events.c.stripe_event_id == event_id
        )
    )
    return await matters.find(connection, workflow_id) if workflow_id else None


async def mark_handled(connection: AsyncConnection, workflow_id: str, until: datetime) -> None:
    """The matter asked the provider after `until`: whatever came before is dealt with."""
    await connection.execute(
        update(stripe_webhook_events)
        .where(
            stripe_webhook_events.c.workflow_id == workflow_id,
            stripe_webhook_events.c.status == "received",
            stripe_webhook_events.c.received_at <= until,
        )
        .values(status="handled", dispatched_at=func.now())
    )


async def subject_of(connection: AsyncConnection, event_id: str) -> str | None:
    """The provider's object a stored event is about."""
    subject: str | None = await connection.scalar(
        select(stripe_webhook_events.c.object_id).where(
            stripe_webhook_events.c.stripe_event_id == event_id
        )
    )
    return subject


async def mark_subject_handled(
    connection: AsyncConnection, workflow_id: str, subject: str | None, until: datetime
) -> None:
    """As `mark_handled`, for one of several objects that the matter looks after."""
    await connection.execute(
        update(stripe_webhook_events)
        .where(
            stripe_webhook_events.c.workflow_id == workflow_id,
            stripe_webhook_events.c.object_id.is_not_distinct_from(subject),
            stripe_webhook_events.c.status == "received",
            stripe_webhook_events.c.received_at <= until,
        )
        .values(status="handled", dispatched_at=func.now())
    )


async def waiting(
    connection: AsyncConnection, received_before: datetime, limit: int
) -> list[Waiting]:
    """Events that were left: stored but never looked at, or without an owner so far."""
    rows = await connection.execute(
        select(
            stripe_webhook_events.c.stripe_event_id.label("event_id"),
            stripe_webhook_events.c.status,
            stripe_webhook_events.c.workflow_id,
            stripe_webhook_events.c.object_id,
            stripe_webhook_events.c.payload,
            stripe_webhook_events.c.received_at,
        )
        .where(
            stripe_webhook_events.c.status.in_(["received", "unmatched"]),
            stripe_webhook_events.c.received_at < received_before,
        )
        .order_by(stripe_webhook_events.c.received_at)
        .limit(limit)
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
                    account_id=owner.account_id, workflow_id=owner.workflow_id, status="received"
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
