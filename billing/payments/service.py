"""Recording what the provider said about a payment, in the transaction of its consequences."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.audit import service as audit
from billing.core import ids, keys
from billing.core.clock import real_now
from billing.events import service as events
from billing.invoices.schemas import Invoice
from billing.payments import store
from billing.payments.rules import FINAL_PAYMENT, CheckoutSession, Outcome
from billing.payments.schemas import Attempt, AttemptStatus, Payment

_ATTEMPT_RESULT: dict[str, AttemptStatus] = {
    "succeeded": "succeeded",
    "declined": "declined",
    "action": "action",
    "processing": "processing",
    "waiting": "unreached",
    "canceled": "unreached",
    "unreached": "unreached",
}


async def open_road(
    connection: AsyncConnection,
    invoice: Invoice,
    *,
    road: str,
    method_id: UUID | None,
    at: datetime,
) -> Payment:
    """The invoice's next payment; one live payment per invoice is kept by the database."""
    number = await store.count(connection, invoice.id) + 1
    return await store.add(
        connection,
        {
            "id": ids.new(),
            "account_id": invoice.account_id,
            "invoice_id": invoice.id,
            "workflow_id": invoice.workflow_id,
            "road": road,
            "intent_key": keys.intent(invoice.id, number),
            "status": "pending",
            "amount_minor": invoice.remaining_minor,
            "currency": invoice.currency,
            "payment_method_id": method_id,
            "created_at": at,
        },
    )


async def write_attempt(
    connection: AsyncConnection,
    payment: Payment,
    *,
    key: str,
    method_id: UUID,
    slot: int | None,
    at: datetime,
) -> Attempt:
    """The row that must exist before a card is tried; its key goes to the provider too."""
    return await store.add_attempt(
        connection,
        {
            "id": ids.new(),
            "account_id": payment.account_id,
            "payment_id": payment.id,
            "invoice_id": payment.invoice_id,
            "key": key,
            "slot": slot,
            "payment_method_id": method_id,
            "status": "pending",
            "started_at": at,
            "real_started_at": real_now(),
        },
    )


async def write_skipped(
    connection: AsyncConnection,
    invoice: Invoice,
    *,
    key: str,
    slot: int | None,
    reason: str,
    at: datetime,
) -> None:
    """A try that was due, and why no card was tried."""
    await store.add_attempt(
        connection,
        {
            "id": ids.new(),
            "account_id": invoice.account_id,
            "invoice_id": invoice.id,
            "key": key,
            "slot": slot,
            "status": "skipped",
            "decline_code": reason,
            "started_at": at,
            "real_started_at": real_now(),
            "finished_at": at,
        },
    )


async def record_outcome(
    connection: AsyncConnection, payment: Payment, outcome: Outcome, at: datetime
) -> Payment:
    """Bring the payment's row up to the provider's word; a final row never goes back."""
    payment = await store.lock(connection, payment.id)
    if payment.status in FINAL_PAYMENT and outcome.kind != "succeeded":
        return payment
    if payment.status in ("succeeded", "refunded"):
        return payment
    fields: dict[str, Any] = {
        "stripe_payment_intent_id": outcome.intent_id or payment.stripe_payment_intent_id,
        "client_secret": outcome.client_secret or payment.client_secret,
    }
    match outcome.kind:
        case "succeeded":
            fields |= {
                "status": "succeeded",
                "received_minor": outcome.received_minor,
                "stripe_charge_id": outcome.charge_id,
                "paid_at": at,
                "closed_at": at,
                **_failure(None),
            }
        case "processing":
            fields |= {"status": "processing"}
        case "canceled":
            fields |= {"status": "canceled", "closed_at": at}
        case "declined":
            fields |= {"status": "pending", **_failure(outcome)}
        case "action":
            fields |= {"status": "pending", "redirect_url": outcome.redirect_url}
        case _:
            fields |= {"status": "pending"}
    changed = await store.change(connection, payment.id, **fields)
    if changed.status != payment.status or outcome.kind == "declined":
        await _announce(connection, changed, outcome, at)
    return changed


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


async def finish_attempt(
    connection: AsyncConnection, attempt: Attempt, outcome: Outcome, at: datetime
) -> None:
    """The attempt's result; an undecided one stays `pending` and is never given a new key."""
    decline = outcome.decline
    await store.change_attempt(
        connection,
        attempt.id,
        status=_ATTEMPT_RESULT[outcome.kind],
        decline_code=decline.reason if decline else None,
        decline_class=decline.decline_class if decline else None,
        message=decline.message if decline else None,
        finished_at=at,
    )


async def close_unpaid(
    connection: AsyncConnection, payment: Payment, status: str, at: datetime
) -> Payment:
    """The road ended without money: `failed` or `canceled`."""
    if payment.status in FINAL_PAYMENT and payment.status != "canceled":
        return payment
    return await store.change(connection, payment.id, status=status, closed_at=at)


def _failure(outcome: Outcome | None) -> dict[str, Any]:
    decline = outcome.decline if outcome else None
    return {
        "failure_code": decline.reason if decline else None,
        "failure_message": decline.message if decline else None,
        "failure_class": decline.decline_class if decline else None,
    }


async def _announce(
    connection: AsyncConnection, payment: Payment, outcome: Outcome, at: datetime
) -> None:
    subject = ids.encode(ids.PAYMENT, payment.id)
    what = "failed" if outcome.kind == "declined" else outcome.kind
    if what not in ("succeeded", "failed", "canceled", "processing"):
        return
    facts = {
        "payment_id": subject,
        "invoice_id": ids.encode(ids.INVOICE, payment.invoice_id),
        "amount_cents": payment.received_minor or payment.amount_minor,
        "currency": payment.currency,
        "failure_code": payment.failure_code,
    }
    await audit.record(
        connection,
        account_id=payment.account_id,
        action=f"payment.{what}",
        subject=subject,
        at=at,
        **facts,
    )
    await events.publish(
        connection,
        account_id=payment.account_id,
        type=f"evt.billing.payment.{what}",
        data=facts,
        at=at,
    )
