"""Outcomes of payments while an invoice is collected: booked money, and failed tries. Pure."""

from typing import Any, Final

from billing.matters.effects import Work
from billing.money.collecting.facts import Collected, CollectFacts, Refused
from billing.money.dunning import cases
from billing.money.invoices import transitions as invoices
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods.rules import CardDetails, can_pay
from billing.money.payments import kept_cards
from billing.money.payments import transitions as payments
from billing.money.payments.calls import Answer, Call
from billing.money.payments.declines import classify
from billing.money.payments.owed import Owed
from billing.money.payments.rules import BROUGHT_NO_MONEY, Outcome
from billing.money.payments.schemas import Attempt, Payment
from billing.money.refunds import rests
from billing.money.refunds import transitions as refunds

_DEFAULT_REASONS: Final = {"action": "authentication_required", "canceled": "canceled"}
"""The reason of a failed try if the bank gave none."""


def called_back(w: Work[CollectFacts], live: Payment | None) -> tuple[bool, Collected | None]:
    """Return whether it is certain that a payment brings no money, and what its answer changed for
    the debtor. The provider must first cancel a live one: until then there is a call to make.
    """
    answer = w.facts.answer
    if answer is None and live is not None:
        # Of a payment that is given up with what it was for, no card is kept.
        is_owed = Owed(w.rows, live.invoice_id).invoice.takes_money
        w.call = Call("call_back", live, save_card=is_owed)
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
        _keep_card(w, before, answer.card)
    payment = payments.record(w, before, outcome)
    if outcome.kind == "succeeded" and payment.settled_at is None:
        refunds.take_early(w, payment, outcome.given_back)
        return book(w, payment)
    if before.status == "processing":
        if outcome.kind not in BROUGHT_NO_MONEY:
            return None
        cases.after_the_bank(w, Owed(w.rows, payment.invoice_id))
        return _declined(w, payment, attempt, outcome)
    failed = None
    if outcome.kind == "declined":
        failed = attempt or _refused_by_payer(w, payment, asked)
    elif outcome.kind == "action" and not answer.call.on_session:
        failed = attempt  # the payer is absent, so the bank can ask nobody
    return _declined(w, payment, failed, outcome) if failed is not None else None


def _keep_card(w: Work[CollectFacts], payment: Payment, card: CardDetails) -> None:
    """Keep the payer's card. The customer's own becomes the default where it pays what is overdue;
    that of whoever has the link only if no other card of the account can pay.
    """
    owed = Owed(w.rows, payment.invoice_id)
    is_default = cases.case_of(w.rows, payment.invoice_id) is not None
    if payment.by_link:
        own = card.stripe_payment_method_id  # the provider may have told of it before it paid
        others = (one for one in payments.cards(w.rows) if one.stripe_payment_method_id != own)
        able = (one for one in others if can_pay(one, owed.invoice.currency))
        is_default = all(owed.is_refused_for_good(one) for one in able)
    by_link = payment.by_link
    kept_cards.keep_card(w, payment.account_id, card, make_default=is_default, by_link=by_link)


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
    """Book the payment's money on its invoice; money nobody asked for stays on the balance, or goes
    back as the end of its subscription asked.
    """
    payment = refunds.mark_booked(w, payment)
    invoice = Owed(w.rows, payment.invoice_id).invoice
    if not invoice.takes_money:
        _take_unasked(w, invoice, payment)
        return None
    surplus = payment.received_minor - invoice.remaining_minor
    invoice = invoices.receive(w, invoice, payment.received_minor)
    rests.give_surplus(w, payment, surplus)
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
    """Refund money for what a subscription will not give, or did not as it ended with a refund;
    keep other money on the balance.

    A payment by hand has no card to refund, so it is kept on the money balance.
    """
    if invoice.status == "void" and invoice.subscription_id and payment.flow != "manual":
        refunds.give_back(w, payment, "nothing is given for it: its invoice is void")
        return
    invoices.keep_money(w, invoice, payment.id, payment.received_minor)
    if not rests.give_surplus(w, payment, payment.received_minor):
        payments.announce(w, payment, "kept", invoice_status=invoice.status)


def _declined(
    w: Work[CollectFacts], payment: Payment, attempt: Attempt | None, outcome: Outcome
) -> Collected | None:
    decline, slot = outcome.decline, attempt.slot if attempt is not None else None
    reason = (
        decline.reason if decline is not None else _DEFAULT_REASONS.get(outcome.kind, "declined")
    )
    return fail(w, Owed(w.rows, payment.invoice_id), slot, reason, true_attempt=True)
