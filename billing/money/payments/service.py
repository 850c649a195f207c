"""Payments and provider answers, recorded in the transaction of their consequences."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.money.invoices.schemas import Invoice
from billing.money.payments import store
from billing.money.payments.rules import CheckoutSession
from billing.money.payments.schemas import Payment
from billing.money.payments.transitions import announcement, new_payment, session_fields
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
    fields = new_payment(invoice, number, flow, method_id, at)
    return await store.add(connection, {"id": ids.new(), **fields})


async def record_session(
    connection: AsyncConnection, payment: Payment, session: CheckoutSession
) -> Payment:
    """Remember the hosted page, and the intent behind it once there is one."""
    return await store.change(connection, payment.id, **session_fields(payment, session))


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
