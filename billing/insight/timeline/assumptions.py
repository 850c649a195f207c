"""The provider's answers that a projection assumes. Pure.

A card pays an invoice without a failed try. In dunning every try is shown to fail, because nobody
knows which one succeeds.
"""

from datetime import datetime

from billing.matters.effects import Rows
from billing.money.dunning import cases
from billing.money.payments.calls import Answer, Call
from billing.money.payments.rules import Decline, Outcome

_DECLINE = Decline(code="card_declined", decline_code="insufficient_funds", message="")


def assume(call: Call, rows: Rows, at: datetime) -> Answer:
    """Return the assumed answer to a call."""
    payment = call.payment
    intent_id = payment.stripe_payment_intent_id or f"pi_{payment.id}"
    outcome = Outcome(kind="canceled", intent_id=intent_id)
    match call.what:
        case "try_card" if cases.is_recovering(rows, payment.invoice_id):
            outcome = Outcome(kind="declined", intent_id=intent_id, decline=_DECLINE)
        case "try_card":
            return paid(call, at)
        case "look" if payment.status == "processing":
            return paid(call, at)
        case "open" | "look":
            # A payer who must confirm may never do so.
            outcome = Outcome(kind="waiting", intent_id=intent_id)
    return Answer(call, outcome, at)


def paid(call: Call, at: datetime) -> Answer:
    """Return the answer that the payment succeeded."""
    payment = call.payment
    outcome = Outcome(
        kind="succeeded",
        intent_id=payment.stripe_payment_intent_id or f"pi_{payment.id}",
        received_minor=payment.amount_minor,
    )
    return Answer(call, outcome, at)
