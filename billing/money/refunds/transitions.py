"""The course of a refund: written, asked for, arrived, or in vain. Pure.

The matter that owns the payment does it: the row with its key first, then the provider, then the
result. Before it is asked for again it is looked for; one row per payment is kept by the database.
"""

from typing import Any
from uuid import UUID

from billing.core import ids, keys
from billing.matters.agenda import Step
from billing.matters.effects import Rows, Work
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.payments import transitions as payments
from billing.money.payments.schemas import Payment
from billing.money.refunds.calls import RefundAnswer, RefundCall
from billing.money.refunds.rules import GivingBack, RefundOutcome
from billing.money.refunds.schemas import Refund


def give_back(w: Work[Any], payment: Payment, reason: str) -> Refund:
    """Write that all the money of a payment goes back; its matter asks the provider next."""
    refund = w.add(
        Refund(
            id=w.facts.new_id(),
            account_id=payment.account_id,
            payment_id=payment.id,
            invoice_id=payment.invoice_id,
            key=keys.refund(payment.id),
            status="pending",
            amount_minor=payment.received_minor,
            currency=payment.currency,
            reason=reason,
            created_at=w.facts.at,
        )
    )
    _announce(w, refund, "created")
    return refund


def refund(w: Work[Any], step: Step) -> None:
    """Ask for the refund, or look where it stands, and follow the answer."""
    wanted = next(one for one in w.rows.of(Refund) if one.key == step.key)
    payment = w.rows.get(Payment, wanted.payment_id)
    answer: RefundAnswer | None = w.facts.answer
    if answer is None:
        again = wanted.asked_at is not None
        asked = w.change(wanted, asked_at=w.facts.at)
        w.call = RefundCall(payment, asked, again=again)
    elif answer.outcome is None:
        _fail(w, wanted, payment, answer.refusal or "refused")
    else:
        _follow(w, wanted, payment, answer.outcome)


def look(rows: Rows, payment: Payment) -> RefundCall | None:
    """The question how the refund of this payment stands; None where the provider has none.

    A bank may send back what had arrived, weeks later.
    """
    mine = next((one for one in rows.of(Refund) if one.payment_id == payment.id), None)
    if mine is None or mine.stripe_refund_id is None or mine.status == "failed":
        return None
    return RefundCall(payment, mine)


def hear(w: Work[Any]) -> bool:
    """Follow the provider's word on a refund that an event spoke of; False where it is on none."""
    answer, outcome = w.facts.answer, w.facts.answer.outcome
    if not isinstance(answer, RefundAnswer):
        return False
    known = w.rows.get(Refund, answer.call.refund.id)
    if known.status != "failed" and outcome.status != known.status:
        _follow(w, known, w.rows.get(Payment, known.payment_id), outcome)
    w.result = outcome.status
    return True


def unfinished(rows: Rows, invoice_id: UUID) -> GivingBack | None:
    """The oldest refund of the invoice that is not finished."""
    mine = (one for one in rows.of(Refund) if one.invoice_id == invoice_id)
    row = min((one for one in mine if not one.is_finished), key=_age, default=None)
    if row is None:
        return None
    return GivingBack(
        key=row.key,
        payment=ids.encode(ids.PAYMENT, row.payment_id),
        created_at=row.created_at,
        is_known=row.stripe_refund_id is not None,
        checks=row.checks,
        last_check_at=row.last_check_at,
    )


def is_begun(rows: Rows, step: Step) -> bool:
    """True while the provider's answer on the step's refund waits to be recorded."""
    asked = (one for one in rows.of(Refund) if one.asked_at is not None and not one.is_finished)
    return any(one.key == step.key for one in asked)


def _follow(w: Work[Any], wanted: Refund, payment: Payment, outcome: RefundOutcome) -> None:
    known = w.change(wanted, stripe_refund_id=outcome.refund_id)
    if outcome.status == "processing":
        w.change(known, status="processing", checks=known.checks + 1, last_check_at=w.facts.at)
    elif outcome.status == "failed":
        _fail(w, known, payment, outcome.failure or "failed")
    else:
        done = w.change(known, status="succeeded", finished_at=w.facts.at)
        payments.announce(w, w.change(payment, status="refunded"), "refunded", reason=done.reason)
        _announce(w, done, "succeeded")
        w.result = "succeeded"


def _fail(w: Work[Any], wanted: Refund, payment: Payment, failure: str) -> None:
    """The money stays here: it is the customer's all the same, on the money balance.

    A payment that was `refunded` until now has not been given back after all.
    """
    failed = w.change(wanted, status="failed", failure=failure, finished_at=w.facts.at)
    if payment.status == "refunded":
        w.change(payment, status="succeeded")
    invoice = w.rows.get(Invoice, payment.invoice_id)
    invoices.keep_money(w, invoice, payment.id, failed.amount_minor)
    _announce(w, failed, "failed", failure=failure)
    w.result = "failed"


def _age(row: Refund) -> tuple[Any, UUID]:
    return row.created_at, row.id


def _announce(w: Work[Any], row: Refund, what: str, **detail: Any) -> None:
    """One audit row and one `evt.billing.refund.*`."""
    subject = ids.encode(ids.REFUND, row.id)
    facts = {
        "refund_id": subject,
        "payment_id": ids.encode(ids.PAYMENT, row.payment_id),
        "invoice_id": ids.encode(ids.INVOICE, row.invoice_id),
        "amount_cents": row.amount_minor,
        "currency": row.currency,
        "reason": row.reason,
        **detail,
    }
    w.announce(row.account_id, f"refund.{what}", subject, facts)
