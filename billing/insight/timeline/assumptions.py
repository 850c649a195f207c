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
    return Answer(call, _outcome(call, rows), at)


def _outcome(call: Call, rows: Rows) -> Outcome:
    intent_id = _intent_of(call)
    match call.what:
        case "try_card" if cases.is_recovering(rows, call.payment.invoice_id):
            return Outcome(kind="declined", intent_id=intent_id, decline=_DECLINE)
        case "try_card":
            return _success(call)
        case "look" if call.payment.status == "processing":
            return _success(call)
        case "open" | "look":
            # A payer who must confirm may never do so.
            return Outcome(kind="waiting", intent_id=intent_id)
        case "open_page" | "call_back" | "capture":
            return Outcome(kind="canceled", intent_id=intent_id)


def paid(call: Call, at: datetime) -> Answer:
    """Return the answer that the payment succeeded."""
    return Answer(call, _success(call), at)


def _success(call: Call) -> Outcome:
    return Outcome(
        kind="succeeded", intent_id=_intent_of(call), received_minor=call.payment.amount_minor
    )


def _intent_of(call: Call) -> str:
    return call.payment.stripe_payment_intent_id or f"pi_{call.payment.id}"
