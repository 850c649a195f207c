"""Payments and provider answers, recorded in the transaction of their consequences."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys
from billing.money.invoices.schemas import Invoice
from billing.money.payments import store
from billing.money.payments.rules import CheckoutSession
from billing.money.payments.schemas import Payment
from billing.money.payments.transitions import announcement
from billing.platform.outbox import service as outbox


async def open_flow(
    connection: AsyncConnection,
    invoice: Invoice,
    *,
    flow: str,
    method_id: UUID | None,
    at: datetime,
) -> Payment:
    """Add the invoice's next payment; the database allows one live payment per invoice."""
    number = await store.count(connection, invoice.id) + 1
    return await store.add(
        connection,
        {
            "id": ids.new(),
            "account_id": invoice.account_id,
            "invoice_id": invoice.id,
            "workflow_id": invoice.workflow_id,
            "flow": flow,
            "intent_key": keys.intent(invoice.id, number),
            "status": "pending",
            "amount_minor": invoice.remaining_minor,
            "currency": invoice.currency,
            "payment_method_id": method_id,
            "created_at": at,
        },
    )


async def record_session(
    connection: AsyncConnection, payment: Payment, session: CheckoutSession
) -> Payment:
    """Remember the hosted page, and the intent behind it once there is one."""
    return await store.change(
        connection,
        payment.id,
        stripe_checkout_session_id=session.session_id,
        redirect_url=session.url or payment.redirect_url,
        stripe_payment_intent_id=session.intent_id or payment.stripe_payment_intent_id,
    )


async def send_waiting_to_approval(
    connection: AsyncConnection, invoice_id: UUID, at: datetime
) -> Payment | None:
    """Send a manual payment to approval once the card's flow it waited for has ended."""
    undecided = await store.undecided(connection, invoice_id)
    waiting = next((one for one in undecided if one.waits_for_its_turn), None)
    if waiting is None or len(undecided) > 1:
        return None
    taken = await store.change(connection, waiting.id, status="pending_approval")
    await announce(connection, taken, "submitted", at, reference=taken.transaction_reference)
    return taken


async def announce(
    connection: AsyncConnection, payment: Payment, what: str, at: datetime, **detail: Any
) -> None:
    """Write one audit row and one `evt.billing.payment.*`."""
    await outbox.announce(connection, announcement(payment, what, **detail), at)
