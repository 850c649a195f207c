"""The steps of a subscription as decisions over its rows: periods, trial, collection. Pure.

The effects of time are in the folder `periods`, those of payment in `payment_effects.py`.
"""

from typing import Final
from uuid import UUID

from billing.core import ids, keys
from billing.core.money import ZERO, exponent
from billing.matters.agenda import Step
from billing.matters.deciding import Rules
from billing.matters.effects import Rows, Work
from billing.money.collecting import transitions as collecting
from billing.money.collecting.facts import Collected, Refused
from billing.money.collecting.outcomes import called_back
from billing.money.collecting.transitions import collect, invoice_of
from billing.money.dunning import cases
from billing.money.invoices import arrears
from billing.money.invoices.schemas import Invoice
from billing.money.payment_methods.rules import can_pay
from billing.money.payments import card_choice, card_rules
from billing.money.payments.owed import Owed
from billing.money.payments.schemas import Payment
from billing.money.subscriptions import expiring_cards, payment_effects, period_notices
from billing.money.subscriptions.endings import pauses
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    cycles,
    granting,
    invoicing,
    renewals,
    spans,
    true_ups,
)
from billing.money.subscriptions.rules import ENDED, agenda
from billing.money.subscriptions.schemas import CrossedPeriod
from billing.money.subscriptions.terms import agreements, change_rows, changes, scheduling
from billing.money.subscriptions.views import view

_WHY: Final = {"end": "canceled at period end", "end_unpaid": "unpaid for too long"}
_AT_A_DATE: Final = "canceled at the date that was asked for"
_WENT_BACK: Final = "its payment went back"


def transition(w: Work[SubscriptionFacts], step: Step) -> None:
    """Decide one step."""
    if _is_too_late(w, step):
        return
    match step.name:
        case "renew":
            w.result = _next_period(w)
        case "end_trial" | "pause" | "abandon" | "end_change" | "close_commitment":
            _VERBS[step.name](w)
        case "cycle":
            w.result = f"cycle until {granting.next_cycle(w).cycle_end.isoformat()}"
        case "bill_early":
            bill_early(w, step)
        case "tell_expiring":
            expiring_cards.notify(w)
        case "tell_trial_ending" | "tell_renewal":
            period_notices.notify(w, step)
        case "end" | "end_unpaid":
            payment_effects.end(w, _why(w, step), money_went_back=_is_lost(w, step))
            w.result = "canceled"
        case "give_up":
            give_up(w, step)
        case _:
            _collect(w, step)


def _why(w: Work[SubscriptionFacts], step: Step) -> str:
    """Return the reason of an end."""
    if _is_lost(w, step):
        return _WENT_BACK
    at_a_date = step.name == "end" and subscription_of(w).cancel_at is not None
    return _AT_A_DATE if at_a_date else _WHY[step.name]


def _is_lost(w: Work[SubscriptionFacts], step: Step) -> bool:
    return step.name == "end" and w.facts.period_is_lost


def begun(rows: Rows, _: SubscriptionFacts, step: Step) -> bool:
    """True if the result of the step's provider call is not recorded yet."""
    undecided = (Owed(rows, one.id).undecided for one in rows.of(Invoice))
    return any(attempt is not None and attempt.key == step.key for attempt in undecided)


def end_trial(w: Work[SubscriptionFacts]) -> None:
    """Begin the first paid period; without a usable card, do what the plan says for that case."""
    scheduling.apply(w)
    subscription = subscription_of(w)
    if _has_card(w) or not agreements.needs_card(w) or subscription.trial_end_behavior == "invoice":
        w.result = _next_period(w)
    elif subscription.trial_end_behavior == "pause":
        agreements.leave(w)
        scheduling.begin_pause(w, "trial_ended")
        pauses.bill_use(w, None)
        w.result = "paused"
    else:
        payment_effects.end(w, "trial ended without a card")
        w.result = "canceled"


def _has_card(w: Work[SubscriptionFacts]) -> bool:
    """True if a card may be charged: neither barred, nor resting, nor of another currency."""
    subscription = subscription_of(w)
    card = card_choice.fit_card(w.rows, subscription.payment_method_id, subscription.currency)
    if card is None or not can_pay(card, subscription.currency):
        return False
    return card_rules.why_not(card, w.facts.declines.get(card.id, 0)) is None


def pause(w: Work[SubscriptionFacts]) -> None:
    """Begin the pause scheduled for the end of the period, and credit owed time not served."""
    changes.drop_pending(w, "the period is over")
    scheduling.pause(w)
    w.result = "paused"


def close_commitment(w: Work[SubscriptionFacts]) -> None:
    """Bill the rest of a commitment that ends in a pause."""
    closing = true_ups.closing_commitment(w)
    key = keys.commitment(cycles.stem(subscription_of(w)), closing.end)
    invoice = invoicing.bill_usage(w, key, invoicing.LATE, closing=closing)
    w.result = f"invoice {_name(invoice)}" if invoice is not None else "nothing to bill"


def bill_early(w: Work[SubscriptionFacts], step: Step) -> None:
    """Write the early invoice, once per crossing; none if another invoice already bills the use, or
    if what it was is covered or voided since, so that the rest is below the threshold.
    """
    reached = _reaches_threshold(w)
    invoice = invoicing.bill_usage(w, step.key, invoicing.EARLY) if reached else None
    for period in w.rows.of(CrossedPeriod):
        w.change(period, threshold_at=None)
    w.result = f"invoice {_name(invoice)}" if invoice is not None else "nothing to bill"


def _reaches_threshold(w: Work[SubscriptionFacts]) -> bool:
    """As usage_threshold.sql decides it, for the cycle that crossed it."""
    subscription = subscription_of(w)
    least = subscription.billing_threshold_minor
    crossed = {one.start_at for one in w.rows.of(CrossedPeriod) if one.threshold_at is not None}
    unbilled = sum(
        (arrears.unbilled(w.rows, one) for one in w.facts.usage if one.start_at in crossed), ZERO
    )
    return least is not None and unbilled.scaleb(exponent(subscription.currency)) >= least


def _is_too_late(w: Work[SubscriptionFacts], step: Step) -> bool:
    """Give up a payment whose period is over; True: the step has no more to do.

    Money that arrives with the answer to this step applies nothing, and goes back.
    """
    if _first_payment_is_too_late(w):
        payment_effects.end_incomplete(w)
        # Without an answer the step is obsolete: the agenda has changed.
        return w.facts.answer is None and step.name != "abandon"
    gives_up = step.name == "end_change"
    if _change_is_too_late(w) and (gives_up or w.facts.answer is not None):
        changes.drop_pending(w, "its period is over")
        w.result = "expired" if gives_up else None
        return gives_up
    return False


def _first_payment_is_too_late(w: Work[SubscriptionFacts]) -> bool:
    """True if the period to be paid and the days of a transfer are over, or the customer has
    canceled.

    The previous release's API only records the cancel; the subscription ends here.
    """
    row = subscription_of(w)
    over = row.canceled_at is not None or w.facts.at >= spans.first_payment_until(row)
    return row.status == "incomplete" and over


def _change_is_too_late(w: Work[SubscriptionFacts]) -> bool:
    """True if the new period that the change would pay is over."""
    change = change_rows.pending(w.rows)
    draft = w.rows.find(Invoice, change.invoice_id) if change is not None else None
    ends = draft.period_end if draft is not None else None
    return ends is not None and w.facts.at >= ends


def abandon(w: Work[SubscriptionFacts]) -> None:
    """Give up the first payment, once the provider confirms that it cannot succeed any more."""
    if subscription_of(w).status != "incomplete":
        w.result = subscription_of(w).status
        return
    drafts = invoicing.collected(w.rows, subscription_of(w), ("draft",))
    if _called_back(w, Owed(w.rows, drafts[0].id).live if drafts else None):
        w.result = payment_effects.end_incomplete(w)


def end_change(w: Work[SubscriptionFacts]) -> None:
    """Drop a change that was not paid in time; money that came anyway applies it."""
    change = change_rows.pending(w.rows)
    if change is None:
        raise LookupError("no change waits for its payment")
    if _called_back(w, Owed(w.rows, change.draft_id).live):
        if change_rows.pending(w.rows) is not None:
            changes.drop(w, change, "expired", "not paid in time")
        w.result = "expired"


def _called_back(w: Work[SubscriptionFacts], live: Payment | None) -> bool:
    """True if a payment cannot succeed any more; money that came anyway takes effect."""
    gone, became = called_back(w, live)
    if w.facts.answer is not None:
        _react(w, w.facts.answer.call.payment.invoice_id, became)
    return gone


def give_up(w: Work[SubscriptionFacts], step: Step) -> None:
    """Carry out the final action of an invoice's case."""
    invoice_id = invoice_of(w, step)
    case = cases.case_of(w.rows, invoice_id) if invoice_id is not None else None
    if case is None:
        raise LookupError(f"{step.key} has no case")
    action = case.terms.final_action
    became = collecting.give_up(w, case.invoice_id, action)
    if became == "given_up":
        payment_effects.on_given_up(w, case.invoice_id, action)
    else:
        _react(w, case.invoice_id, became)


def _collect(w: Work[SubscriptionFacts], step: Step) -> None:
    invoice_id = invoice_of(w, step)
    became = collect(w, invoice_id, step)
    if invoice_id is None:  # an event about no payment known here is handled, too
        return
    _react(w, invoice_id, became)
    if isinstance(became, Refused) and became.reason not in card_rules.OF_THE_SUM:
        _end_unopened(w, invoice_id)
    if w.result == "unreached":
        changes.refuse(w, invoice_id, "unreached")
    if subscription_of(w).status in ENDED:
        payment_effects.leave_currency(w)


def _end_unopened(w: Work[SubscriptionFacts], invoice_id: UUID) -> None:
    """End a subscription whose first payment was never opened at the provider.

    An agreed transfer may still arrive, so a subscription that waits for one stays.
    """
    owed = Owed(w.rows, invoice_id)
    begun = any(one.opened for one in owed.payments) or owed.submission is not None
    by_hand = owed.live is not None and owed.live.flow == "manual"
    by_hand = by_hand or subscription_of(w).collection == "send_invoice"
    if subscription_of(w).status == "incomplete" and not begun and not by_hand:
        payment_effects.end_incomplete(w, payment_effects.NOT_ASKED)


def _react(w: Work[SubscriptionFacts], invoice_id: UUID, became: Collected | None) -> None:
    if became == "paid":
        payment_effects.on_paid(w, w.rows.get(Invoice, invoice_id))
    elif became == "unpaid":
        payment_effects.on_unpaid(w)
    elif isinstance(became, Refused):
        changes.refuse(w, invoice_id, became.reason)


def _next_period(w: Work[SubscriptionFacts]) -> str:
    changes.drop_pending(w, "the period is over")
    closing = true_ups.closing(w)
    renewals.follow_zone(w)
    scheduling.apply(w)
    agreements.follow(w)
    moved, invoice = renewals.renew(w, closing)
    if w.facts.credits_at_start and moved.status == "active":
        granting.grant_cycle(w)
    if invoice.status == "paid":
        payment_effects.on_paid(w, invoice)
    return f"invoice {_name(invoice)}"


def _name(invoice: Invoice) -> str:
    return ids.encode(ids.INVOICE, invoice.id)


_VERBS: Final = {
    "end_trial": end_trial,
    "pause": pause,
    "abandon": abandon,
    "end_change": end_change,
    "close_commitment": close_commitment,
}
RULES = Rules(view=view, agenda=agenda, transition=transition, begun=begun)
