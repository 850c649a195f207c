"""The capture of an order that its payer has approved: noted before it is sent. Pure."""

from dataclasses import replace

from billing.matters.effects import Facts, Work
from billing.money.payments.calls import Answer
from billing.money.payments.owed import Owed
from billing.money.payments.schemas import LIVE, Payment


def begin(w: Work[Facts], answer: Answer | None) -> bool:
    """Note and request the capture of the order that a look has found approved; False if there is
    none, or nobody wants its money any more.

    Its answer may be lost: until it is known, the note says that money may come.
    """
    looked = answer is not None and answer.call.what == "look"
    if answer is None or not looked or answer.outcome is None or not answer.outcome.is_approved:
        return False
    payment = w.rows.get(Payment, answer.call.payment.id)
    if payment.status not in LIVE or not Owed(w.rows, payment.invoice_id).may_capture(payment):
        return False
    noted = w.change(payment, capture_asked_at=w.facts.database_at or w.facts.real_at)
    w.call = replace(answer.call, what="capture", payment=noted)
    return True
