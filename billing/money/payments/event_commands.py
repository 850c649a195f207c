"""Operators' commands on provider events: ignore one, handle it again, order a payment's check."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import clock, ids, prepared
from billing.core.errors import Conflict, NotFound
from billing.core.prepared import Fields
from billing.matters import store as matters
from billing.matters.kinds import REVERSAL
from billing.matters.schemas import Matter
from billing.money.invoices import store as invoice_store
from billing.money.payments import event_owners, store
from billing.platform.audit import service as audit
from billing.platform.provider_inbox.rules import ASKED_FOR
from billing.platform.provider_inbox.schemas import Waiting
from billing.platform.provider_inbox.tables import stripe_webhook_events as inbox

# One row per payment: each further request replays it and so causes another check.
_ASK = text(
    """
    INSERT INTO stripe_webhook_events (stripe_event_id, account_id, workflow_id, type, object_id,
        payload, source, received_at)
    VALUES (:event_id, :account_id, :workflow_id, :type, :object_id, '{}', 'operator',
        statement_timestamp())
    ON CONFLICT (stripe_event_id) DO UPDATE
    SET status = 'received', replays = stripe_webhook_events.replays + 1, dispatched_at = NULL,
        workflow_id = excluded.workflow_id, object_id = excluded.object_id,
        received_at = excluded.received_at
    """
)


async def dismiss(connection: AsyncConnection, event_id: str, reason: str) -> None:
    """Ignore an event without owner, with the reason; it can still be replayed.

    Errors: WEBHOOK_NOT_FOUND, WEBHOOK_HAS_OWNER.
    """
    row = await _locked(connection, event_id)
    if row["status"] not in ("unmatched", "parked"):
        raise Conflict(
            "WEBHOOK_HAS_OWNER",
            f"this event is {row['status']}; only unmatched events can be dismissed",
        )
    await connection.execute(
        update(inbox)
        .where(inbox.c.stripe_event_id == event_id)
        .values(status="ignored", error=reason)
    )
    await audit.record(
        connection,
        account_id=row["account_id"],
        action="webhook.dismissed",
        subject=event_id,
        at=clock.real_now(),
        reason=reason,
    )


async def replay(connection: AsyncConnection, event_id: str) -> Matter:
    """Have an event handled again; return its matter, to be notified after the commit.

    An event without owner is matched again. Nothing is done twice: the matter queries the object's
    current status. Errors: WEBHOOK_NOT_FOUND, WEBHOOK_UNMATCHED, WEBHOOK_EMPTIED.
    """
    row = await _locked(connection, event_id)
    if row["type"] not in event_owners.ACTED_ON:
        raise Conflict("WEBHOOK_UNMATCHED", f"no matter handles events of type {row['type']}")
    if row["emptied_at"] is not None:
        raise Conflict(
            "WEBHOOK_EMPTIED",
            f"this event's payload was deleted on {row['emptied_at']:%Y-%m-%d}; check its payment"
            " instead",
        )
    await connection.execute(
        update(inbox)
        .where(inbox.c.stripe_event_id == event_id)
        .values(status="received", error=None, replays=inbox.c.replays + 1)
    )
    owner = await event_owners.find_owner(
        connection, Waiting.model_validate({**row, "event_id": event_id})
    )
    if owner is None:
        raise Conflict("WEBHOOK_UNMATCHED")
    await audit.record(
        connection,
        account_id=owner.account_id,
        action="webhook.replayed",
        subject=event_id,
        at=await clock.now(connection, owner.account_id),
        type=row["type"],
        before=row["status"],
    )
    return owner


async def order_check(connection: AsyncConnection, payment_id: UUID, at: datetime) -> Matter | None:
    """Order a status check of a payment; return the matter that makes it, to be notified after the
    commit. That is the matter that collects the payment or, once its money is booked, its reversal.

    Errors: PAYMENT_NOT_FOUND, PAYMENT_STATE.
    """
    payment = await store.get(connection, payment_id)
    if not payment.opened:
        raise Conflict("PAYMENT_STATE", "this payment was never opened at the provider")
    workflow_id = (await invoice_store.get(connection, payment.invoice_id)).workflow_id
    if payment.settled_at is not None:
        await event_owners.bear_reversals(connection, [payment.stripe_payment_intent_id], at)
        workflow_id = REVERSAL.workflow_id(payment.id)
    owner = await matters.find(connection, workflow_id)
    if owner is None:
        return None
    row = {
        "event_id": check_id(payment_id), "account_id": payment.account_id, "type": ASKED_FOR,
        "workflow_id": owner.workflow_id,
        "object_id": payment.stripe_checkout_session_id or payment.stripe_payment_intent_id,
    }  # fmt: skip
    await connection.execute(_ASK, row)
    await matters.wake(connection, owner.workflow_id, at)
    await audit.record(
        connection,
        account_id=payment.account_id,
        action="payment.check_ordered",
        subject=ids.encode(ids.PAYMENT, payment_id),
        at=await clock.now(connection, payment.account_id),
    )
    return owner


async def answered_at(connection: AsyncConnection, payment_id: UUID) -> datetime | None:
    """Return when the last ordered check was answered; None while it is open."""
    found: datetime | None = await connection.scalar(
        select(inbox.c.dispatched_at).where(
            inbox.c.stripe_event_id == check_id(payment_id), inbox.c.status == "handled"
        )
    )
    return found


def check_id(payment_id: UUID) -> str:
    """Return the event id that stands for ordered checks of a payment."""
    return f"check-{ids.encode(ids.PAYMENT, payment_id)}"


async def _locked(connection: AsyncConnection, event_id: str) -> Fields:
    query = select(inbox).where(inbox.c.stripe_event_id == event_id)
    row = await prepared.find(connection, query.with_for_update())
    if row is None:
        raise NotFound("WEBHOOK_NOT_FOUND")
    return row
