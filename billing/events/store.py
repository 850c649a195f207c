"""Every query on the inbox of provider events and the outbox of our own."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, matters
from billing.events.provider import PAYMENT_EVENTS
from billing.events.tables import stripe_webhook_events
from billing.payments.rules import ProviderEvent

# The owner by what we wrote into the object's metadata, else by the provider id we stored.
_OWNER = text(
    """
    SELECT m.workflow_id, m.account_id FROM matters m WHERE m.workflow_id = :matter
    UNION ALL
    SELECT p.workflow_id, p.account_id FROM payments p
    WHERE p.stripe_payment_intent_id = :intent OR p.stripe_checkout_session_id = :object
    LIMIT 1
    """
)


async def receive(
    connection: AsyncConnection, event: ProviderEvent, source: str, at: datetime
) -> bool:
    """Store an event once by its id; True when it is new and somebody must look at it [N3].

    A known event only counts one more delivery.
    """
    owner = (
        await connection.execute(
            _OWNER,
            {
                "matter": event.workflow_id,
                "intent": event.intent_id or "",
                "object": event.object_id or "",
            },
        )
    ).one_or_none()
    relevant = event.type in PAYMENT_EVENTS
    status = ("received" if owner else "unmatched") if relevant else "ignored"
    row = (
        await connection.execute(
            insert(stripe_webhook_events)
            .values(
                stripe_event_id=event.event_id,
                account_id=owner.account_id if owner else None,
                workflow_id=owner.workflow_id if owner else None,
                type=event.type,
                object_id=event.object_id,
                payload=event.payload,
                status=status,
                source=source,
                created_at=event.created_at,
                received_at=at,
            )
            .on_conflict_do_update(
                index_elements=[stripe_webhook_events.c.stripe_event_id],
                set_={"deliveries": stripe_webhook_events.c.deliveries + 1},
            )
            .returning(stripe_webhook_events.c.status, stripe_webhook_events.c.deliveries)
        )
    ).one()
    return bool(row.status == "received" and row.deliveries == 1)


async def owner_of(connection: AsyncConnection, event_id: str) -> matters.Matter | None:
    """The matter that must look at a stored event."""
    workflow_id = await connection.scalar(
        select(stripe_webhook_events.c.workflow_id).where(
            stripe_webhook_events.c.stripe_event_id == event_id
        )
    )
    return await matters.find(connection, workflow_id) if workflow_id else None


async def mark_handled(
    connection: AsyncConnection, workflow_id: str, until: datetime
) -> None:
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


async def waiting(
    connection: AsyncConnection, received_before: datetime, limit: int
) -> list[dict[str, Any]]:
    """Events that were left: stored but never looked at, or without an owner so far."""
    rows = await connection.execute(
        select(stripe_webhook_events)
        .where(
            stripe_webhook_events.c.status.in_(["received", "unmatched"]),
            stripe_webhook_events.c.received_at < received_before,
        )
        .order_by(stripe_webhook_events.c.received_at)
        .limit(limit)
    )
    return [dict(row) for row in rows.mappings()]


async def assign(
    connection: AsyncConnection, event_id: str, account_id: UUID, workflow_id: str
) -> None:
    """An owner was found after all."""
    await connection.execute(
        update(stripe_webhook_events)
        .where(stripe_webhook_events.c.stripe_event_id == event_id)
        .values(account_id=account_id, workflow_id=workflow_id, status="received")
    )


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
