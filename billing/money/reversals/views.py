"""Read the state that the agenda of a reversal needs from its rows. Pure."""

from uuid import UUID

from billing.core import ids
from billing.core.money import show_money
from billing.matters.agenda import head
from billing.matters.effects import Rows, Work
from billing.money.disputes.rules import ANSWERED
from billing.money.disputes.schemas import Dispute
from billing.money.payments.schemas import Payment
from billing.money.refunds.schemas import Refund
from billing.money.reversals import placing
from billing.money.reversals.booking import subject_of
from billing.money.reversals.facts import ReversalFacts
from billing.money.reversals.rules import (
    Answering,
    OpenRefund,
    ReversalState,
    agenda,
    reminder_due,
)
from billing.platform.provider_inbox.rules import waiting_events


def view(rows: Rows, facts: ReversalFacts) -> ReversalState:
    """Return the state of the reversal for its workflow."""
    payment = rows.get(Payment, facts.payment_id)
    waiting = unbooked(rows, payment.id) if payment.settled_at is not None else None
    short = placing.unplaced(Work(rows, facts)) if waiting is None else None
    state = ReversalState(
        clock_at=facts.clock_at,
        status=_status(rows),
        payment=ids.encode(ids.PAYMENT, payment.id),
        refund=_unfinished(rows, payment),
        unbooked=_unbooked(waiting, short),
        unbooked_since=payment.settled_at if waiting or short else None,
        dispute=_answering(rows, payment),
        events=waiting_events(rows),
    )
    step = head(agenda(state))
    back = show_money(payment.refunded_minor, payment.currency)
    of = show_money(payment.received_minor, payment.currency)
    words = (
        f"**{state.status}** {back} of {of} went back: {step.words if step else 'nothing to do'}"
    )
    return state.model_copy(update={"words": words})


def unbooked(rows: Rows, payment_id: UUID) -> Refund | Dispute | None:
    """Return the payment's oldest succeeded refund or lost dispute that is not booked."""
    done: list[Refund | Dispute] = [
        *(one for one in rows.of(Refund) if one.status == "succeeded" and one.booked_at is None),
        *(one for one in rows.of(Dispute) if one.state == "lost" and one.booked_at is None),
    ]
    mine = [one for one in done if one.payment_id == payment_id]
    return min(mine, key=lambda one: (one.created_at, one.id), default=None)


def booked_key(waiting: Refund | Dispute) -> str:
    """Return the key of the step that books a refund or dispute."""
    return f"{subject_of(waiting)}/booked"


def _unbooked(waiting: Refund | Dispute | None, short: Refund | Dispute | None) -> str | None:
    """Return the booking step's key; each placement leaves less waiting, or asks for credits."""
    if waiting is not None:
        return booked_key(waiting)
    if short is None:
        return None
    if not short.is_placed:
        return f"{subject_of(short)}/placed"
    # The share of credits that come only later is a step of its own.
    found = "-found" if short.has_found_room else ""
    return f"{subject_of(short)}/noted-{short.short_minor}-{len(short.credits)}{found}"


def _status(rows: Rows) -> str:
    open_disputes = any(one.closed_at is None for one in rows.of(Dispute))
    if open_disputes:
        return "disputed"
    unfinished = any(not one.is_finished for one in rows.of(Refund))
    return "refunding" if unfinished else "done"


def _unfinished(rows: Rows, payment: Payment) -> OpenRefund | None:
    """The refund of this payment to request or check first."""
    mine = (one for one in rows.of(Refund) if one.payment_id == payment.id and not one.is_finished)
    row = min(mine, key=lambda one: (one.stripe_refund_id is not None, one.created_at, one.id),
              default=None)  # fmt: skip
    if row is None:
        return None
    return OpenRefund(
        key=row.key,
        created_at=row.created_at,
        is_known=row.stripe_refund_id is not None,
        checks=row.checks,
        last_check_at=row.last_check_at,
    )


def _answering(rows: Rows, payment: Payment) -> Answering | None:
    """The unanswered dispute of this payment with the next reminder."""
    asked = (one for one in rows.of(Dispute) if one.status not in ANSWERED)
    mine = (
        Answering(dispute=subject_of(one), due_at=one.evidence_due_at, reminders=one.reminders)
        for one in asked
        if one.payment_id == payment.id and one.closed_at is None and one.evidence_due_at
    )
    due = [(at, one) for one in mine if (at := reminder_due(one.due_at, one.reminders)) is not None]
    return min(due, key=lambda pair: (pair[0], pair[1].dispute))[1] if due else None
