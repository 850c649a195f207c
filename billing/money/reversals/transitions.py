"""The steps of a reversal, as decisions over its rows. Pure.

A refund's row comes first, then the provider, then the result. The refunds and disputes at the
provider are read as a whole, so the order and number of its events do not matter.
"""

from typing import Final

from billing.core import ids, keys
from billing.matters.agenda import Step
from billing.matters.deciding import Rules
from billing.matters.effects import Heard, Rows, Work
from billing.money.disputes.schemas import Dispute
from billing.money.invoices import transitions as invoices
from billing.money.invoices.note_shares import reserved
from billing.money.invoices.schemas import Invoice
from billing.money.payments.schemas import Payment
from billing.money.refunds import transitions as refunds
from billing.money.refunds.calls import RefundCall, SurveyAnswer, SurveyCall
from billing.money.refunds.remaining import booked_on
from billing.money.refunds.rules import RefundOutcome, Taken
from billing.money.refunds.schemas import Refund
from billing.money.reversals import booking, disputing, placing
from billing.money.reversals.facts import ReversalFacts
from billing.money.reversals.rules import agenda
from billing.money.reversals.views import booked_key, unbooked, view

FAILED: Final = "refund_failed"
"""Kind of the balance entry for the money of a failed refund."""


def transition(w: Work[ReversalFacts], step: Step) -> None:
    """Decide one step; what it frees of the invoice may include tax that must be given back."""
    before = _reserved(w)
    _do(w, step)
    if _reserved(w) < before:
        invoices.owe_tax(w, _bill(w))


def _do(w: Work[ReversalFacts], step: Step) -> None:
    match step.name:
        case "check":
            check(w, step)
        case "refund":
            refund(w, step)
        case "book":
            book(w, step)
        case "remind":
            disputing.remind(w, step)
        case _:
            raise ValueError(f"a reversal has no step {step.name!r}")


def begun(rows: Rows, _: ReversalFacts, step: Step) -> bool:
    """True while the provider's answer on the step's refund waits to be recorded."""
    asked = (one for one in rows.of(Refund) if one.asked_at is not None and not one.is_finished)
    return any(one.key == step.key for one in asked)


def _reserved(w: Work[ReversalFacts]) -> int:
    return reserved(w.rows, _bill(w))


def _bill(w: Work[ReversalFacts]) -> Invoice:
    return booked_on(w.rows, w.rows.get(Payment, w.facts.payment_id))


def check(w: Work[ReversalFacts], step: Step) -> None:
    """Read all refunds and disputes of the payment, prompted by an event: that looks into all
    events that were received before.
    """
    answer = w.facts.answer
    payment = w.rows.get(Payment, w.facts.payment_id)
    if answer is None and payment.stripe_payment_intent_id is not None:
        w.call = SurveyCall(payment)
        return
    until = w.facts.looked_at
    for one in w.rows.waiting_events:
        if one.id == step.event or one.received_at <= until:
            w.do(Heard(event_id=one.id, until=until))
    w.result = "nothing to look at"
    if isinstance(answer, SurveyAnswer):
        take_in(w, answer.taken)
        w.result = "looked"


def refund(w: Work[ReversalFacts], step: Step) -> None:
    """Request the refund, or check its status, and follow the answer."""
    wanted = next(one for one in w.rows.of(Refund) if one.key == step.key)
    payment = w.rows.get(Payment, wanted.payment_id)
    answer = w.facts.answer
    if wanted.way != "provider":
        _succeed(w, wanted)
        w.result = "succeeded"
    elif answer is None and wanted.stripe_refund_id is not None:
        w.call = SurveyCall(payment)
    elif answer is None:
        again = wanted.asked_at is not None
        asked = w.change(wanted, asked_at=w.facts.at)
        w.call = RefundCall(payment, asked, again=again)
    elif isinstance(answer, SurveyAnswer):
        w.change(wanted, checks=wanted.checks + 1, last_check_at=w.facts.at)
        take_in(w, answer.taken)
    elif answer.outcome is None:
        _fail(w, wanted, answer.refusal or "refused")
    else:
        _follow(w, wanted, answer.outcome)
    now = w.rows.get(Refund, wanted.id)
    if now.is_finished:
        w.result = now.status


def book(w: Work[ReversalFacts], step: Step) -> None:
    """Book what went back before the payment itself was booked, or found no room then."""
    waiting = unbooked(w.rows, w.facts.payment_id)
    short = placing.unplaced(w)
    if waiting is not None and step.key == booked_key(waiting):
        _book(w, waiting)
    elif short is not None:
        placing.place_again(w, short)
    else:
        raise LookupError("nothing waits to be booked")
    w.result = "booked"


def take_in(w: Work[ReversalFacts], taken: Taken) -> None:
    """Follow the provider's report of all refunds and disputes of the payment."""
    for outcome in taken.refunds:
        known = _known(w, outcome)
        if known is not None:
            _follow(w, known, outcome)
        elif outcome.status != "failed":
            payment = w.rows.get(Payment, w.facts.payment_id)
            _follow(w, refunds.add_found(w, payment, outcome), outcome)
    for dispute in taken.disputes:
        disputing.follow(w, dispute)


def _known(w: Work[ReversalFacts], outcome: RefundOutcome) -> Refund | None:
    """Find our row of a refund: by its provider id, or by our own id that it carries."""
    for one in w.rows.of(Refund):
        if outcome.refund_id == one.stripe_refund_id:
            return one
        if one.stripe_refund_id is None and outcome.name == ids.encode(ids.REFUND, one.id):
            return one
    return None


def _follow(w: Work[ReversalFacts], known: Refund, outcome: RefundOutcome) -> None:
    """Follow the provider's status of a refund; a bank may return it weeks after it arrived."""
    if known.stripe_refund_id is None:
        known = w.change(known, stripe_refund_id=outcome.refund_id)
    if known.status == "failed" or outcome.status == known.status:
        return
    if outcome.status == "processing":
        if known.status == "pending":
            w.change(known, status="processing", checks=1, last_check_at=w.facts.at)
    elif outcome.status == "failed":
        _fail(w, known, outcome.failure or "failed")
    else:
        _succeed(w, known)


def _succeed(w: Work[ReversalFacts], known: Refund) -> None:
    done = refunds.succeed(w, known)
    if w.rows.get(Payment, done.payment_id).settled_at is not None:
        _book(w, done)


def _book(w: Work[ReversalFacts], row: Refund | Dispute) -> None:
    """Book a refund or dispute; one made at the provider is placed in the books only now, unless
    its money has left the balance already.
    """
    if isinstance(row, Dispute):
        if not row.note_minor + row.balance_minor + row.loss_minor:
            row = placing.place(w, row)
    elif row.key == keys.found_refund(row.stripe_refund_id or "") and not row.balance_minor:
        row = placing.place(w, row)
    booking.book(w, row)


def _fail(w: Work[ReversalFacts], wanted: Refund, failure: str) -> None:
    """Fail a refund: its money stays here, and its room is freed.

    Money that was booked already, or bought nothing, is the customer's: it goes to the money
    balance, and from there to disputes whose banks took more than was here.
    """
    failed = w.change(wanted, status="failed", failure=failure, finished_at=w.facts.at)
    payment = w.rows.get(Payment, failed.payment_id)
    # When it was heard, that was perhaps the void invoice of an expired purchase.
    invoice = booked_on(w.rows, payment)
    back, unbooked = _kept(w, failed, payment, invoice)
    part = f"-{ids.encode(ids.REFUND, failed.id)}"
    if back:
        invoices.add_balance(w, invoice, FAILED, back, part=part)
    if unbooked:
        invoices.add_balance(w, invoice, "unasked", unbooked, payment_id=payment.id, part=part)
    kept = back + unbooked - placing.take_returned(w, failed, back + unbooked)
    booking.count_refunded(w, w.rows.get(Payment, payment.id), failure)
    refunds.announce(w, failed, "failed", failure=failure, balance_cents=kept)
    refunds.look_again(w, but=payment.id)


def _kept(
    w: Work[ReversalFacts], failed: Refund, payment: Payment, invoice: Invoice
) -> tuple[int, int]:
    """Return the parts of a failed refund that are not booked elsewhere: what was booked before,
    and what never was, as it bought nothing. Of that it is what is still here: the rest goes back
    another way.
    """
    if invoice.status != "void" or payment.settled_at is None:
        return failed.amount_minor if failed.booked_at is not None else failed.balance_minor, 0
    here = refunds.here_minor(w.rows, payment)
    return failed.balance_minor, max(0, min(failed.loose_minor, here))


RULES: Final = Rules(view=view, agenda=agenda, transition=transition, begun=begun)
