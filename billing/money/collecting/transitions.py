"""Collect one invoice: each step is a decision over its rows. Pure.

`collect` returns the outcome for the debtor: paid, unpaid, given up, refused, or nothing yet. A
step that needs the provider is decided twice: first what to record and what to ask, then, with the
answer, the result.
"""

from dataclasses import replace
from typing import Final
from uuid import UUID

from billing.catalog.plans.schemas import FinalAction
from billing.core import ids
from billing.matters.agenda import Step
from billing.matters.effects import Heard, Work
from billing.money.collecting import outcomes, step_cards
from billing.money.collecting.facts import Collected, CollectFacts, Refused
from billing.money.dunning import cases
from billing.money.invoices import transitions as invoices
from billing.money.payments import captures, card_rules
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Call, What
from billing.money.payments.owed import Owed
from billing.money.payments.rules import NOT_ASKED, OVERTAKEN, Decline, Outcome
from billing.money.payments.schemas import PAYPAL, Attempt, Payment

_APPROVAL_ENDED: Final = {
    "failure_code": "approval_ended",
    "failure_message": "nobody decided on it in time; it can still be approved",
}


def invoice_of(w: Work[CollectFacts], step: Step) -> UUID | None:
    """Return the invoice of a step; for an event, that of the payment it is about, if known."""
    if step.invoice is not None:
        return ids.decode(ids.INVOICE, step.invoice)
    payment = payments.asked_about(w, step)
    return payment.invoice_id if payment is not None else None


def collect(w: Work[CollectFacts], invoice_id: UUID | None, step: Step) -> Collected | None:
    """Decide one step of collecting this invoice; None: an event about no payment known here."""
    if step.event is not None:
        return check(w, payments.asked_about(w, step), step)
    if invoice_id is None:
        raise LookupError(f"{step.key} is about no invoice")
    owed = Owed(w.rows, invoice_id)
    match step.name:
        case "charge":
            return charge(w, owed, step)
        case "check":
            return check(w, payments.asked_about(w, step) or owed.live, step)
        case "open":
            return open_payment(w, owed)
        case "settle":
            return settle(w, step)
        case "retire":
            return retire(w, owed)
        case "end_approval":
            return end_approval(w, owed)
        case _:
            raise ValueError(f"collecting has no step {step.name!r}")


def charge(w: Work[CollectFacts], owed: Owed, step: Step) -> Collected | None:
    """Try one card once: record the attempt, then ask the provider, then record the result."""
    answer = w.facts.answer
    if answer is None:
        return _begin(w, owed, step)
    if answer.call.what == "call_back":
        return _begin_after(w, owed, step)
    attempt = next(one for one in owed.attempts if one.key == step.key)
    if answer.refusal is not None:
        return _refused(w, owed, attempt, answer.refusal)
    outcome = answer.outcome or Outcome(kind="unreached")
    if answer.call.what == "open" and outcome.kind != "unreached":
        payment = w.rows.get(Payment, answer.call.payment.id)
        is_wanted = owed.may_capture(payment)
        payment = payments.record(w, payment, outcome)
        if not is_wanted:  # canceled or overtaken meanwhile: no card is tried
            payments.finish_attempt(w, attempt, Outcome(kind="unreached"))
            w.result = "not tried"
            return None
        w.call = _try(owed, payment, attempt, step, again=answer.call.again)
        return None
    if answer.call.what == "try_card" and owed.is_of_another(attempt, outcome):
        w.call = Call("look", answer.call.payment)  # which reads the payer's card, to keep it
        return None
    is_overtaken = answer.call.what == "look"
    payments.finish_attempt(w, attempt, OVERTAKEN if is_overtaken else outcome)
    w.result = "not tried" if is_overtaken else outcome.kind
    mine = None if is_overtaken else attempt
    became = outcomes.follow(w, answer, outcome, attempt=mine)
    if outcome.kind == "succeeded" and outcome.intent_id is not None:
        # Last: events that arrived until now are echoes of this charge.
        w.do(Heard(object_id=outcome.intent_id))
    return became


def _refused(w: Work[CollectFacts], owed: Owed, attempt: Attempt, why: Decline) -> Collected | None:
    """Fail a try for which the provider opened no payment: no card was asked, and to ask again at
    once would change nothing. A card that went with its customer is declined.
    """
    payments.finish_attempt(w, attempt, payments.not_opened(why))
    w.result = "refused"
    return outcomes.fail(w, owed, attempt.slot, why.code, true_attempt=False)


def _begin(w: Work[CollectFacts], owed: Owed, step: Step) -> Collected | None:
    undecided = step_cards.undecided(owed, step)
    if undecided is not None:
        return _ask(w, owed, step, undecided)
    card = step_cards.chosen(w, owed, step)
    refusal = step_cards.why_not(w, owed, card, step)
    if card is None or refusal is not None:
        reason = refusal or "no_payment_method"
        payments.skip_attempt(w, owed, step.key, step.slot, reason)
        if reason in card_rules.OF_THE_SUM:
            _close_unopened(w, owed.live)
        w.result = f"skipped: {reason}"
        return outcomes.fail(w, owed, step.slot, reason, true_attempt=False)
    return _ask(w, owed, step, card.id)


def _close_unopened(w: Work[CollectFacts], live: Payment | None) -> None:
    """Close a payment that no card can make, so that its payer waits for none."""
    if live is not None and live.status == "pending" and not live.opened:
        payments.close_unpaid(w, live, "failed")


def _ask(w: Work[CollectFacts], owed: Owed, step: Step, method_id: UUID) -> Collected | None:
    if owed.live is not None and owed.live.flow == PAYPAL:
        w.call = Call("call_back", owed.live)  # no card can be tried on a PayPal order
        return None
    payment = owed.live or payments.open_flow(w, owed, "saved_card", method_id)
    attempt, again = payments.begin_attempt(w, owed, payment, step.key, method_id, step.slot)
    call = _try(owed, payment, attempt, step, again=again)
    w.call = call if payment.opened else replace(call, what="open", revision=w.facts.revision)
    return None


def _begin_after(w: Work[CollectFacts], owed: Owed, step: Step) -> Collected | None:
    """Try the card once another flow is closed, unless that flow has brought the money."""
    gone, became = outcomes.called_back(w, owed.live)
    if gone:
        return _begin(w, owed, step)
    if w.result == "succeeded":
        w.result = "not tried"
    return became


def _try(owed: Owed, payment: Payment, attempt: Attempt, step: Step, *, again: bool) -> Call:
    on_session = step.asked or (owed.invoice.status == "draft" and not payment.is_unattended)
    return Call("try_card", payment, attempt, on_session=on_session, again=again)


def check(w: Work[CollectFacts], payment: Payment | None, step: Step) -> Collected | None:
    """Ask for a payment's status, because of an event or of the calendar."""
    answer = w.facts.answer
    if answer is None and payment is not None and payment.opened:
        w.call = Call("look", payment)
        return None
    if captures.begin(w, answer):
        return None
    if step.event is not None:
        w.do(Heard(event_id=step.event, until=w.facts.looked_at))
    elif payment is not None:
        w.change(payment, checks=payment.checks + 1, last_check_at=w.facts.at)
    if answer is None or answer.outcome is None:
        w.result = NOT_ASKED if answer is None else "waiting"
        return None
    w.result = answer.outcome.kind
    became = outcomes.follow(w, answer, answer.outcome)
    owed = Owed(w.rows, answer.call.payment.invoice_id)
    return "unpaid" if became is None and cases.doubt(w, owed) else became


def open_payment(w: Work[CollectFacts], owed: Owed) -> Collected | None:
    """Create the intent that the payer confirms, or the page on which the payer approves it."""
    answer, live = w.facts.answer, owed.live
    if answer is None and live is not None and not live.opened:
        refusal = card_rules.why_not_sum(live.amount_minor, live.currency)
        if refusal is not None:
            payments.close_unpaid(w, live, "failed")
            w.result = refusal
            return outcomes.fail(w, owed, None, refusal, true_attempt=False)
        what: What = "open_page" if live.flow == PAYPAL else "open"
        w.call = Call(what, live, return_url=live.return_url, refusable=True)
        return None
    if answer is not None and answer.refusal is not None:
        payment = w.rows.get(Payment, answer.call.payment.id)
        payments.close_refused(w, payment, answer.refusal)
        w.result = "refused"
        return Refused(answer.refusal.code) if owed.invoice.status == "draft" else None
    w.result = "opened"
    if answer is not None and answer.session is not None:
        payments.record_session(w, w.rows.get(Payment, answer.call.payment.id), answer.session)
    if answer is None or answer.outcome is None:
        return None
    return outcomes.follow(w, answer, answer.outcome)


def settle(w: Work[CollectFacts], step: Step) -> Collected | None:
    """Book the money of a payment approved by hand."""
    w.result = "booked"
    return outcomes.book(w, w.rows.get(Payment, ids.decode(ids.PAYMENT, step.payment or "")))


def retire(w: Work[CollectFacts], owed: Owed) -> Collected | None:
    """Cancel the open payment at the provider; money that came anyway is booked."""
    gone, became = outcomes.called_back(w, owed.live)
    if w.call is not None:
        return None
    payments.send_waiting_to_approval(w, owed)
    if gone:
        w.result = "canceled"
    return became


def end_approval(w: Work[CollectFacts], owed: Owed) -> Collected | None:
    """Close a manual payment that nobody decided on, so that cards are tried again."""
    if owed.live is not None:
        payments.close_unpaid(w, w.change(owed.live, **_APPROVAL_ENDED), "canceled")
    w.result = "approval ended"
    return None


def give_up(w: Work[CollectFacts], invoice_id: UUID, action: FinalAction) -> Collected | None:
    """Carry out the final action; if it ends collecting, the provider is asked first.

    With `cancel`, the caller credits time not served first, and tells then what is uncollectible.
    """
    owed = Owed(w.rows, invoice_id)
    gone, became = outcomes.called_back(w, owed.live if action != "unpaid" else None)
    if not gone:
        return became
    cases.close_case(w, invoice_id, "exhausted", action)
    if action == "cancel":
        w.change(owed.invoice, status="uncollectible")
    elif action == "uncollectible":
        invoices.mark_uncollectible(w, owed.invoice)
    w.result = action
    return "given_up"
