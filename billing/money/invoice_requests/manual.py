"""Payments by hand: a payer reports a transfer, an operator decides whether it came [J4 to J7].

One collector per invoice: the matter that collects it cancels a card's open intent before a
submission counts. Only reference text is kept, no payment data.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import context, ids, keys
from billing.core.error_codes import CODES
from billing.core.errors import Conflict, Invalid, NotAllowed
from billing.matters.schemas import Matter
from billing.money.invoice_requests import card, locks
from billing.money.invoices import account_currency
from billing.money.invoices.schemas import Invoice
from billing.money.payments import store
from billing.money.payments.schemas import DECIDABLE, LIVE, Payment
from billing.money.payments.service import announce, send_waiting_to_approval
from billing.money.purchases import late_payments
from billing.money.purchases import store as purchases

_PAID_STATUS: Final = CODES["INVOICE_ALREADY_PAID"].on_manual


async def asked_for(connection: AsyncConnection, invoice: Invoice) -> dict[str, Any] | None:
    """Return the next action of a payer who pays by transfer; None: nothing to send."""
    if not invoice.outstanding_minor or not await is_by_hand(connection, invoice):
        return None
    payment = await store.latest(connection, invoice.id)
    if payment is not None and payment.status in LIVE:
        return None
    return transfer(invoice)


def transfer(invoice: Invoice) -> dict[str, Any]:
    """Return the next action that asks for a bank transfer."""
    return {
        "type": "manual",
        "invoice_id": ids.encode(ids.INVOICE, invoice.id),
        "payment_reference": invoice.payment_reference,
        "amount_cents": invoice.outstanding_minor,
        "currency": invoice.currency,
    }


async def is_by_hand(connection: AsyncConnection, invoice: Invoice) -> bool:
    """True if payment by hand was agreed: by terms, or when its purchase began."""
    if invoice.purchase_id is None:
        return invoice.collection == "send_invoice"
    return (await purchases.get(connection, invoice.purchase_id)).flow == "manual"


async def submit(
    connection: AsyncConnection,
    invoice_id: UUID,
    *,
    payment_id: UUID,
    method: str,
    reference: str,
    amount_minor: int | None,
    currency: str | None,
    at: datetime,
    by_operator: bool = False,
) -> tuple[Payment, Matter]:
    """Record a manual payment: `pending_approval`, or `pending` until the card's is canceled.

    Errors: INVOICE_NOT_FOUND, INVOICE_ALREADY_PAID, INVOICE_STATE, CURRENCY_MISMATCH,
    PAYMENT_PENDING, PAYMENT_REFERENCE_USED, INVALID_COUPON.
    """
    invoice = await locks.take(connection, invoice_id)
    if invoice.status == "paid":
        raise Invalid("INVOICE_ALREADY_PAID", status=_PAID_STATUS)
    await locks.demand_owed(connection, invoice, by_card=False)
    await _keep_currency(connection, invoice, currency)
    await _refuse_second(connection, invoice, reference)
    await late_payments.demand_acceptable(connection, invoice, at, by_operator=by_operator)
    key = keys.submission(invoice_id, await store.count(connection, invoice_id) + 1)
    payment = await store.add(
        connection,
        {
            "id": payment_id,
            "account_id": invoice.account_id,
            "invoice_id": invoice_id,
            "workflow_id": invoice.workflow_id,
            "flow": "manual",
            "intent_key": key,
            "status": "pending",
            "amount_minor": amount_minor or invoice.remaining_minor,
            "currency": invoice.currency,
            "manual_method": method,
            "transaction_reference": reference,
            "submitted_by": context.actor.get(),
            "created_at": at,
        },
    )
    payment = await send_waiting_to_approval(connection, invoice_id, at) or payment
    return payment, await locks.wake(connection, invoice, at)


async def approve(
    connection: AsyncConnection,
    payment_id: UUID,
    *,
    received_minor: int | None,
    currency: str | None,
    four_eyes: bool,
    at: datetime,
    again: bool = False,
) -> tuple[Payment, Matter]:
    """Approve a payment that arrived, of `received_minor`; its matter books it next [J6].

    `again`: an earlier try of the same request may have done it. Errors: PAYMENT_NOT_FOUND,
    PAYMENT_STATE, CURRENCY_MISMATCH, PAYMENT_REFERENCE_USED, FOUR_EYES; AMOUNT_REQUIRED if the
    amount is left out and the payer states more than is owed.
    """
    invoice = await _locked_invoice(connection, payment_id)
    done = await _decided(connection, payment_id, "completed", "refunded") if again else None
    if done is not None:
        return done, await locks.collector(connection, invoice)
    payment = await _decidable(connection, payment_id, four_eyes=four_eyes)
    locks.demand_currency(currency, invoice)
    if received_minor is None and payment.amount_minor > invoice.remaining_minor:
        raise Invalid("AMOUNT_REQUIRED")
    if payment.status == "canceled" and await store.reference_used(
        connection, payment.account_id, payment.transaction_reference or ""
    ):
        raise Conflict("PAYMENT_REFERENCE_USED", "decide on the newer payment of this reference")
    received = received_minor or payment.amount_minor
    approved = await store.change(
        connection,
        payment.id,
        status="completed",
        received_minor=received,
        failure_code=None,
        failure_message=None,
        decided_by=context.actor.get(),
        decided_at=at,
        paid_at=at,
        closed_at=at,
    )
    await announce(
        connection, approved, "approved", at,
        reference=approved.transaction_reference, claimed_cents=approved.amount_minor,
    )  # fmt: skip
    return approved, await locks.wake(connection, invoice, at)


async def reject(
    connection: AsyncConnection,
    payment_id: UUID,
    reason: str,
    *,
    four_eyes: bool,
    at: datetime,
    again: bool = False,
) -> tuple[Payment, Matter]:
    """Reject a payment that did not arrive: `failed`, with the reason; card slots go on [J6].

    `again`: an earlier try of the same request may have done it. Errors: PAYMENT_NOT_FOUND,
    PAYMENT_STATE, FOUR_EYES.
    """
    invoice = await _locked_invoice(connection, payment_id)
    done = await _decided(connection, payment_id, "failed") if again else None
    if done is not None:
        return done, await locks.collector(connection, invoice)
    payment = await _decidable(connection, payment_id, four_eyes=four_eyes)
    rejected = await store.change(
        connection,
        payment.id,
        status="failed",
        failure_code="rejected",
        failure_message=reason,
        decided_by=context.actor.get(),
        decided_at=at,
        decision_reason=reason,
        closed_at=at,
    )
    await late_payments.reject(connection, invoice, at)
    await account_currency.leave(connection, account_id=invoice.account_id, at=at)
    await announce(
        connection, rejected, "rejected", at,
        reference=rejected.transaction_reference, reason=reason,
    )  # fmt: skip
    return rejected, await locks.wake(connection, invoice, at)


async def _locked_invoice(connection: AsyncConnection, payment_id: UUID) -> Invoice:
    """Return the payment's invoice, under all locks of its collector."""
    return await locks.take(connection, (await store.get(connection, payment_id)).invoice_id)


async def _decided(connection: AsyncConnection, payment_id: UUID, *statuses: str) -> Payment | None:
    """Return the manual payment, if this person has decided so already."""
    payment = await store.get(connection, payment_id)
    mine = payment.flow == "manual" and payment.decided_by == context.actor.get()
    return payment if mine and payment.status in statuses else None


async def _decidable(connection: AsyncConnection, payment_id: UUID, *, four_eyes: bool) -> Payment:
    """Lock and return a manual payment that this person may decide on, even after its wait."""
    payment = await store.lock(connection, payment_id)
    if payment.flow != "manual" or payment.status not in DECIDABLE:
        raise Conflict(
            "PAYMENT_STATE",
            f"this payment is {payment.status}; only payments awaiting approval can be approved or"
            " rejected",
            payment_status=payment.status,
        )
    if four_eyes and _person(payment.submitted_by) == _person(context.actor.get()):
        raise NotAllowed("FOUR_EYES")
    return payment


async def _refuse_second(connection: AsyncConnection, invoice: Invoice, reference: str) -> None:
    if await store.submission(connection, invoice.id) is not None:
        raise Conflict("PAYMENT_PENDING")
    live = await store.live(connection, invoice.id)
    if live is not None and live.status == "processing":
        raise Conflict("PAYMENT_PENDING", "the bank is processing a payment of this invoice")
    await card.refuse_before_try(connection, invoice)
    if await store.reference_used(connection, invoice.account_id, reference):
        raise Conflict("PAYMENT_REFERENCE_USED")


async def _keep_currency(connection: AsyncConnection, invoice: Invoice, given: str | None) -> None:
    """Fix the account's currency if it is open, because money was announced."""
    locks.demand_currency(given, invoice)
    await account_currency.keep(connection, invoice.account_id, invoice.currency)


def _person(actor: str | None) -> str | None:
    """Return the subject behind `admin:ops-7`: one person may have more than one role."""
    return actor.partition(":")[2] if actor else None
