"""Collect one invoice: each step is a decision over its rows. Pure.

`collect` returns the outcome for the debtor: paid, unpaid, given up, refused, or nothing yet. A
step that needs the provider is decided twice: first what to record and what to ask, then, with the
answer, the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

from billing.catalog.plans.schemas import DunningPolicy, FinalAction
from billing.core import ids
from billing.matters.agenda import Step
from billing.matters.effects import Heard, Work
from billing.money.collecting import step_cards
from billing.money.dunning import cases
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.invoices.transitions import InvoiceFacts
from billing.money.payments import card_rules, kept_cards
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call, What
from billing.money.payments.declines import classify
from billing.money.payments.owed import Owed
from billing.money.payments.rules import NOT_ASKED, Decline, Outcome
from billing.money.payments.schemas import PAYPAL, Attempt, Payment
from billing.money.refunds import transitions as refunds


@dataclass(frozen=True, slots=True)
class Refused:
    """A try for a draft brought no money; the draft's owner decides what follows."""

    reason: str


Collected = Literal["paid", "unpaid", "given_up"] | Refused
# Outcomes of a payment that the bank was deciding on which mean that it brought no money.
_BROUGHT_NO_MONEY: Final = ("declined", "canceled", "waiting", "action")
_DEFAULT_REASONS: Final = {"action": "authentication_required", "canceled": "canceled"}
"""The reason of a failed try if the bank gave none."""
_APPROVAL_ENDED: Final = {
    "failure_code": "approval_ended",
    "failure_message": "nobody decided on it in time; it can still be approved",
}


@dataclass(slots=True)
class CollectFacts(InvoiceFacts):
    """The facts of collecting, in addition to its rows."""

    answer: Answer | None = None
    declines: Mapping[UUID, int] = field(default_factory=dict)
    """The number of declines of each card in the last 30 days, over all its invoices."""
    terms: DunningPolicy = field(default_factory=DunningPolicy)
    """The policy of a case that opens now."""
    own_card: UUID | None = None
    """The card named for the payer's subscription or use; None: the account's default."""
    zone: str = "UTC"


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
        payment = payments.record(w, w.rows.get(Payment, answer.call.payment.id), outcome)
        if not owed.invoice.takes_money:  # canceled meanwhile: no card is tried
            payments.finish_attempt(w, attempt, Outcome(kind="unreached"))
            w.result = "not tried"
            return None
        w.call = _try(owed, payment, attempt, step, again=answer.call.again)
        return None
    payments.finish_attempt(w, attempt, outcome)
    w.result = outcome.kind
    became = follow(w, answer, outcome, attempt=attempt)
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
    return fail(w, owed, attempt.slot, why.code, true_attempt=False)


def _begin(w: Work[CollectFacts], owed: Owed, step: Step) -> Collected | None:
    undecided = step_cards.undecided(owed, step)
    if undecided is not None:
        return _ask(w, owed, step, undecided)
    card = step_cards.chosen(w, owed, step)
    refusal = step_cards.why_not(w, owed, card, step)
    if card is None or refusal is not None:
        reason = refusal or "no_payment_method"
        payments.skip_attempt(w, owed, step.key, step.slot, reason)
        w.result = f"skipped: {reason}"
        return fail(w, owed, step.slot, reason, true_attempt=False)
    return _ask(w, owed, step, card.id)


def _ask(w: Work[CollectFacts], owed: Owed, step: Step, method_id: UUID) -> Collected | None:
    if owed.live is not None and owed.live.flow == PAYPAL:
        w.call = Call("call_back", owed.live)  # no card can be tried on a PayPal order
        return None
    payment = owed.live or payments.open_flow(w, owed, "saved_card", method_id)
    attempt, again = payments.begin_attempt(w, owed, payment, step.key, method_id, step.slot)
    if payment.opened:
        w.call = _try(owed, payment, attempt, step, again=again)
    else:
        w.call = Call("open", payment, attempt, again=again)
    return None


def _begin_after(w: Work[CollectFacts], owed: Owed, step: Step) -> Collected | None:
    """Try the card once another flow is closed, unless that flow has brought the money."""
    gone, became = called_back(w, owed.live)
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
        is_owed = Owed(w.rows, payment.invoice_id).asks_for_money
        w.call = Call("look", payment, is_owed=is_owed)
        return None
    if step.event is not None:
        until = answer.asked_at if answer is not None else w.facts.real_at
        w.do(Heard(event_id=step.event, until=until))
    elif payment is not None:
        w.change(payment, checks=payment.checks + 1, last_check_at=w.facts.at)
    if answer is None or answer.outcome is None:
        w.result = NOT_ASKED if answer is None else "waiting"
        return None
    w.result = answer.outcome.kind
    became = follow(w, answer, answer.outcome)
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
            return fail(w, owed, None, refusal, true_attempt=False)
        what: What = "open_page" if live.flow == PAYPAL else "open"
        w.call = Call(what, live, return_url=live.return_url, refusable=True)
        return None
    if answer is not None and answer.refusal is not None:
        payment = w.rows.get(Payment, answer.call.payment.id)
        why = answer.refusal
        said = {"failure_code": why.code, "failure_message": why.message}
        payments.close_unpaid(w, w.change(payment, **said), "failed")
        w.result = "refused"
        return Refused(why.code) if owed.invoice.status == "draft" else None
    w.result = "opened"
    if answer is not None and answer.session is not None:
        payments.record_session(w, w.rows.get(Payment, answer.call.payment.id), answer.session)
    if answer is None or answer.outcome is None:
        return None
    return follow(w, answer, answer.outcome)


def settle(w: Work[CollectFacts], step: Step) -> Collected | None:
    """Book the money of a payment approved by hand."""
    w.result = "booked"
    return book(w, w.rows.get(Payment, ids.decode(ids.PAYMENT, step.payment or "")))


def retire(w: Work[CollectFacts], owed: Owed) -> Collected | None:
    """Cancel the open payment at the provider; money that came anyway is booked."""
    gone, became = called_back(w, owed.live)
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
    """Carry out the final action; if it ends collecting, the provider is asked first."""
    owed = Owed(w.rows, invoice_id)
    gone, became = called_back(w, owed.live if action != "unpaid" else None)
    if not gone:
        return became
    cases.close_case(w, invoice_id, "exhausted", action)
    if action != "unpaid":
        invoices.mark_uncollectible(w, owed.invoice)
    w.result = action
    return "given_up"


def called_back(w: Work[CollectFacts], live: Payment | None) -> tuple[bool, Collected | None]:
    """Return whether it is certain that a payment brings no money, and what its answer changed for
    the debtor. The provider must first cancel a live one: until then there is a call to make.
    """
    answer = w.facts.answer
    if answer is None and live is not None:
        w.call = Call("call_back", live)
        return False, None
    if answer is None or answer.outcome is None:
        return True, None
    became = follow(w, answer, answer.outcome)
    if answer.outcome.kind == "succeeded":
        w.result = "succeeded"
    return answer.outcome.kind == "canceled", became


def follow(
    w: Work[CollectFacts], answer: Answer, outcome: Outcome, *, attempt: Attempt | None = None
) -> Collected | None:
    """Record the provider's answer, and book or dun; `attempt` if it answers a try of ours."""
    before = w.rows.get(Payment, answer.call.payment.id)
    attempt = attempt or _try_of_ours(w, before, outcome)
    asked = Owed(w.rows, before.invoice_id).asks_payer(before.id)
    if outcome.kind == "succeeded" and before.settled_at is None and answer.card is not None:
        overdue = cases.case_of(w.rows, before.invoice_id) is not None
        kept_cards.keep_card(w, before.account_id, answer.card, make_default=overdue)
    payment = payments.record(w, before, outcome)
    if outcome.kind == "succeeded" and payment.settled_at is None:
        return book(w, payment)
    if before.status == "processing":
        if outcome.kind not in _BROUGHT_NO_MONEY:
            return None
        cases.after_the_bank(w, Owed(w.rows, payment.invoice_id))
        return _declined(w, payment, attempt, outcome)
    failed = None
    if outcome.kind == "declined":
        failed = attempt or _refused_by_payer(w, payment, asked)
    elif outcome.kind == "action" and not answer.call.on_session:
        failed = attempt  # the payer is absent, so the bank can ask nobody
    return _declined(w, payment, failed, outcome) if failed is not None else None


def _try_of_ours(w: Work[CollectFacts], payment: Payment, outcome: Outcome) -> Attempt | None:
    """Return the try that this answer ends: the bank was deciding on it, or its answer was lost.

    None: the payer tried in the browser. A lost answer is found on an intent canceled by now.
    """
    owed = Owed(w.rows, payment.invoice_id)
    if payment.status == "processing":
        last = owed.last_try(payment.id)
        return last if last is not None and last.status == "processing" else None
    undecided = owed.undecided
    found = undecided is not None and undecided.payment_id == payment.id
    return undecided if found and outcome.is_over and outcome.kind == "declined" else None


def _refused_by_payer(
    w: Work[CollectFacts], payment: Payment, asked: Attempt | None
) -> Attempt | None:
    """Return the try of a draft whose 3-D Secure the payer has failed."""
    owed = Owed(w.rows, payment.invoice_id)
    last = owed.last_try(payment.id)
    if asked is None or last is None or last.id != asked.id or owed.invoice.status != "draft":
        return None
    return last


def book(w: Work[CollectFacts], payment: Payment) -> Collected | None:
    """Book the payment's money on its invoice; money nobody asked for stays on the balance."""
    payment = refunds.mark_booked(w, payment)
    invoice = Owed(w.rows, payment.invoice_id).invoice
    if not invoice.takes_money:
        _take_unasked(w, invoice, payment)
        return None
    invoice = invoices.receive(w, invoice, payment.received_minor)
    if invoice.status != "paid":
        return None
    cases.close_case(w, invoice.id, "recovered", payment.flow)
    return "paid"


def fail(
    w: Work[CollectFacts], owed: Owed, slot: int | None, reason: str, *, true_attempt: bool
) -> Collected | None:
    """Record that a try brought no money: an open invoice's case opens, or moves on.

    `slot` None is an extra try (new card, retry-now): it uses up no slot, and a slot is used up
    once. `true_attempt` False means nothing reached the card. A draft has no case, nor has a sent
    invoice that is not due yet.
    """
    if owed.invoice.status == "draft":
        return Refused(reason)
    case = cases.case_of(w.rows, owed.invoice_id)
    if owed.invoice.status != "open" or (case is None and not cases.is_due(w, owed.invoice)):
        return None
    case = case or cases.open_case(w, owed)
    fields: dict[str, Any] = {}
    if slot is not None and slot > case.last_slot:
        fields |= {"last_slot": slot, "last_slot_ran_at": w.facts.at}
    if true_attempt:
        fields["last_true_attempt_at"] = w.facts.at
    if fields:
        case = w.change(case, **fields)
    cases.announce(w, case, "attempt_failed", slot=slot, reason=reason, **_page(w, reason))
    return "unpaid"


def _page(w: Work[CollectFacts], reason: str) -> dict[str, str]:
    """Return the page on which the payer can do what the bank asks for."""
    url = w.facts.answer.pay_url if w.facts.answer is not None else None
    return {"pay_url": url} if url is not None and classify(reason, None) == "action" else {}


def _take_unasked(w: Work[CollectFacts], invoice: Invoice, payment: Payment) -> None:
    """Refund money for what a subscription will not give; keep other money on the balance.

    A payment by hand has no card to refund, so it is kept on the money balance.
    """
    if invoice.status == "void" and invoice.subscription_id and payment.flow != "manual":
        refunds.give_back(w, payment, "nothing is given for it: its invoice is void")
        return
    invoices.keep_money(w, invoice, payment.id, payment.received_minor)
    payments.announce(w, payment, "kept", invoice_status=invoice.status)


def _declined(
    w: Work[CollectFacts], payment: Payment, attempt: Attempt | None, outcome: Outcome
) -> Collected | None:
    decline, slot = outcome.decline, attempt.slot if attempt is not None else None
    reason = (
        decline.reason if decline is not None else _DEFAULT_REASONS.get(outcome.kind, "declined")
    )
    return fail(w, Owed(w.rows, payment.invoice_id), slot, reason, true_attempt=True)
