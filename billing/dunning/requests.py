"""What a payer or an operator may ask of an unpaid invoice: try a card now, or confirm one himself.

Nothing is charged here: the request is written, and the matter that collects the invoice does it.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.audit import service as audit
from billing.core import ids, keys, orders
from billing.core.errors import Conflict
from billing.core.matters import Matter
from billing.invoices import store as invoices
from billing.invoices.schemas import Invoice
from billing.payments import collectors, methods
from billing.payments import service as paying
from billing.payments import store as payments
from billing.payments.schemas import Method

_BUSY: Final = {
    "processing": "the bank is processing a payment of this invoice",
    "pending_approval": "a manual payment of this invoice awaits approval",
}


class Asked(BaseModel):
    """A request for one try: the key of the attempt it leads to, and the matter to tell."""

    model_config = ConfigDict(frozen=True)

    attempt: str
    matter: Matter


async def retry_now(
    connection: AsyncConnection,
    invoice_id: UUID,
    at: datetime,
    *,
    mark: str,
    method_id: UUID | None = None,
) -> Asked:
    """Ask for one try at once, beside the slots, once per `mark`; without a name the default card.

    Errors: INVOICE_NOT_FOUND, INVOICE_ALREADY_PAID, INVOICE_STATE, PAYMENT_PENDING,
    PAYMENT_METHOD_NOT_FOUND, PAYMENT_METHOD_REQUIRED, PAYMENT_METHOD_BARRED.
    """
    invoice = await collectors.hold(connection, invoice_id)
    order = keys.pay_request(invoice_id, mark)
    attempt = await orders.result_of(connection, order)
    if attempt is None:
        await collectors.demand_owed(connection, invoice, by_card=True)
        await _refuse_while_paying(connection, invoice)
        method = await _usable(connection, invoice.account_id, method_id)
        attempt = await _ask(connection, invoice, method, order, at)
    return Asked(attempt=attempt, matter=await collectors.wake(connection, invoice, at))


async def offer_card(connection: AsyncConnection, invoice_id: UUID, at: datetime) -> Matter:
    """Let the payer confirm the invoice's payment in the browser; its matter opens it if need be.

    Errors: as for `retry_now`, without those of methods.
    """
    invoice = await collectors.hold(connection, invoice_id)
    await collectors.demand_owed(connection, invoice, by_card=True)
    await _refuse_while_paying(connection, invoice)
    live = await payments.live(connection, invoice_id, lock=True)
    if live is None:
        live = await paying.open_road(connection, invoice, road="card", method_id=None, at=at)
    # One intent per invoice: a card's payment that failed is confirmed by its payer instead. One
    # for another amount is called back first; the payer then asks again.
    if live.amount_minor == invoice.remaining_minor:
        await payments.change(connection, live.id, road="card", offered_at=at)
        await _audit(connection, invoice, "pay_offered", at)
    return await collectors.wake(connection, invoice, at)


async def _ask(
    connection: AsyncConnection, invoice: Invoice, method: Method, order: str, at: datetime
) -> str:
    number = invoice.pay_requests + 1
    attempt = keys.manual_retry(invoice.id, number)
    await invoices.change(
        connection,
        invoice.id,
        pay_requests=number,
        pay_requested_at=at,
        pay_method_id=method.id,
    )
    await orders.note(
        connection,
        key=order,
        name="pay",
        workflow_id=invoice.workflow_id,
        account_id=invoice.account_id,
        subject_id=invoice.id,
        at=at,
        result=attempt,
    )
    method_id = ids.encode(ids.PAYMENT_METHOD, method.id)
    await _audit(connection, invoice, "pay_asked", at, payment_method_id=method_id)
    return attempt


async def _refuse_while_paying(connection: AsyncConnection, invoice: Invoice) -> None:
    """One try at a time: nothing is asked for while money may be on its way."""
    why = None
    live = await payments.live(connection, invoice.id)
    if live is not None:
        why = _BUSY.get(live.status)
    if await payments.submission(connection, invoice.id) is not None:
        why = _BUSY["pending_approval"]
    tried = await payments.attempts_of(connection, invoice.id)
    last = keys.manual_retry(invoice.id, invoice.pay_requests)
    asked = invoice.pay_requested_at is not None and all(one.key != last for one in tried)
    if asked or any(one.status == "pending" for one in tried):
        why = "a try of this invoice is on its way"
    if why is not None:
        raise Conflict("PAYMENT_PENDING", why)


async def _usable(connection: AsyncConnection, account_id: UUID, method_id: UUID | None) -> Method:
    if method_id is not None:
        method: Method | None = await methods.get(connection, method_id)
    else:
        method = await methods.default(connection, account_id)
    if method is None:
        raise Conflict("PAYMENT_METHOD_REQUIRED", "the account has no saved card")
    if method.barred_at is not None:
        raise Conflict(
            "PAYMENT_METHOD_BARRED", "the bank asked never to try this card again: use another"
        )
    return method


async def _audit(
    connection: AsyncConnection, invoice: Invoice, what: str, at: datetime, **detail: str
) -> None:
    await audit.record(
        connection,
        account_id=invoice.account_id,
        action=f"invoice.{what}",
        subject=ids.encode(ids.INVOICE, invoice.id),
        at=at,
        **detail,
    )
