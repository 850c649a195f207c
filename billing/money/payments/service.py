"""Recording what the provider said about a payment, in the transaction of its consequences."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids, keys
from billing.core.clock import real_now
from billing.money.invoices.schemas import Invoice
from billing.money.payments import store
from billing.money.payments.rules import FINAL_PAYMENT, CheckoutSession, Outcome
from billing.money.payments.schemas import Attempt, AttemptStatus, Payment, PaymentStatus
from billing.platform.outbox import service as events

_ATTEMPT_RESULT: dict[str, AttemptStatus] = {
    "succeeded": "succeeded",
    "declined": "declined",
    "action": "action",
    "processing": "processing",
    "waiting": "unreached",
    "canceled": "unreached",
    "unreached": "unreached",
}
# A decline may be an older try's, and an intent that waits says nothing of the newest one.
_DECIDES_ATTEMPTS = frozenset({"succeeded", "processing", "action", "canceled"})


async def open_flow(
    connection: AsyncConnection,
    invoice: Invoice,
    *,
    flow: str,
    method_id: UUID | None,
    at: datetime,
    first: bool = False,
) -> Payment:
    """The invoice's next payment; one live payment per invoice is kept by the database.

    `first` spares the count where the invoice was written a moment ago.
    """
    number = 1 if first else await store.count(connection, invoice.id) + 1
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


async def write_attempt(
    connection: AsyncConnection,
    payment: Payment,
    *,
    key: str,
    method_id: UUID,
    slot: int | None,
    at: datetime,
) -> tuple[Attempt, bool]:
    """The row that must exist before a card is tried; its key goes to the provider too.

    With it, whether it was there before.
    """
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


async def record_outcome(
    connection: AsyncConnection, payment: Payment, outcome: Outcome, at: datetime
) -> Payment:
    """Bring the payment's row up to the provider's word; a final row never goes back.

    What decides the payment decides its open attempt too; a manual payment that waited for it to
    be over is now the operators' to decide.
    """
    payment = await store.lock(connection, payment.id)
    if payment.status in FINAL_PAYMENT and outcome.kind != "succeeded":
        return payment
    if payment.status in ("succeeded", "refunded"):
        return payment
    changed = await store.change(connection, payment.id, **_fields(payment, outcome, at))
    if outcome.kind in _DECIDES_ATTEMPTS:
        result = _ATTEMPT_RESULT[outcome.kind]
        await store.decide_attempts(connection, payment.id, result, at)
    if changed.status != payment.status or _is_new_decline(payment, changed, outcome):
        await _announce_outcome(connection, changed, outcome, at)
    if changed.status in FINAL_PAYMENT:
        await make_way(connection, changed.invoice_id, at)
    return changed


def _is_new_decline(before: Payment, after: Payment, outcome: Outcome) -> bool:
    """Each decline is told once, however often the provider is asked about it."""
    known = (before.stripe_charge_id, before.failure_code)
    return outcome.kind == "declined" and (after.stripe_charge_id, after.failure_code) != known


def _fields(payment: Payment, outcome: Outcome, at: datetime) -> dict[str, Any]:
    """The fields of the payment's row that an outcome changes."""
    fields: dict[str, Any] = {
        "stripe_payment_intent_id": outcome.intent_id or payment.stripe_payment_intent_id,
        "client_secret": outcome.client_secret or payment.client_secret,
        "stripe_charge_id": outcome.charge_id or payment.stripe_charge_id,
    }
    match outcome.kind:
        case "succeeded":
            fields |= {
                "status": "succeeded",
                "received_minor": outcome.received_minor,
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
    return fields


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
        detail={"charge_id": outcome.charge_id} if outcome.charge_id else {},
        finished_at=at,
    )


async def close_unpaid(
    connection: AsyncConnection, payment: Payment, status: PaymentStatus, at: datetime
) -> Payment:
    """The flow ended without money: `failed` or `canceled`."""
    if payment.status in FINAL_PAYMENT and payment.status != "canceled":
        return payment
    closed = await store.change(connection, payment.id, status=status, closed_at=at)
    await make_way(connection, payment.invoice_id, at)
    return closed


async def make_way(connection: AsyncConnection, invoice_id: UUID, at: datetime) -> Payment | None:
    """A manual payment that waited for the card's flow to end now awaits its approval."""
    undecided = await store.undecided(connection, invoice_id)
    waiting = next((one for one in undecided if one.waits_for_its_turn), None)
    if waiting is None or len(undecided) > 1:
        return None
    taken = await store.change(connection, waiting.id, status="pending_approval")
    await announce(connection, taken, "submitted", at, reference=taken.transaction_reference)
    return taken


def _failure(outcome: Outcome | None) -> dict[str, Any]:
    decline = outcome.decline if outcome else None
    return {
        "failure_code": decline.reason if decline else None,
        "failure_message": decline.message if decline else None,
        "failure_class": decline.decline_class if decline else None,
    }


async def _announce_outcome(
    connection: AsyncConnection, payment: Payment, outcome: Outcome, at: datetime
) -> None:
    what = "failed" if outcome.kind == "declined" else outcome.kind
    if what in ("succeeded", "failed", "canceled", "processing"):
        await announce(connection, payment, what, at, failure_code=payment.failure_code)


async def announce(
    connection: AsyncConnection, payment: Payment, what: str, at: datetime, **detail: Any
) -> None:
    """One audit row and one `evt.billing.payment.*`."""
    subject = ids.encode(ids.PAYMENT, payment.id)
    facts = {
        "payment_id": subject,
        "invoice_id": ids.encode(ids.INVOICE, payment.invoice_id),
        "amount_cents": payment.received_minor or payment.amount_minor,
        "currency": payment.currency,
        **detail,
    }
    await events.announce(
        connection,
        account_id=payment.account_id,
        action=f"payment.{what}",
        subject=subject,
        facts=facts,
        at=at,
    )
