"""Changes the terms of a subscription: plan, price, interval, seats, and all that depends on them.

Pure.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from billing.catalog.plans.schemas import Price
from billing.core import keys, periods
from billing.core.money import ZERO
from billing.ledger.credits import verbs
from billing.matters.effects import Do, Work
from billing.money.discounts import transitions as discounts
from billing.money.dunning import settling
from billing.money.invoices.notes import NewNote
from billing.money.invoices.schemas import Invoice, Line
from billing.money.refunds.remaining import creditable
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    cycles,
    granting,
    invoicing,
    items,
    plan_credits,
    rollover,
    spans,
    true_ups,
    used_while_waiting,
)
from billing.money.subscriptions.periods.proration import ADD_ON_NOT_USED, NOT_USED
from billing.money.subscriptions.schemas import Subscription, SubscriptionChange, Terms


def begin(w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice) -> None:
    """Apply the terms that an invoice has charged, with their credits and the remaining notes.

    If a new period begins with them, the use of the previous cycle is billed now.
    """
    before = subscription_of(w)
    terms, charges = used_while_waiting.settled(w, change, invoice)
    # The money came since: charges of the new period do not count for the one before it.
    closing = true_ups.closing(w, "a change", invoice.period_start) if terms.resets else None
    if terms.resets:
        fields = spans.billed_by(invoice, terms.zone or before.zone)
    else:
        fields = true_ups.applied_from(before, w.facts.at, terms.minimum_minor)
    take(w, terms, drops_add_ons=terms.resets, **fields)
    if terms.resets:
        discounts.move_start(w, before.current_period_end, subscription_of(w).current_period_start)
    if terms.add_ons is not None:
        items.choose(w, terms.add_ons, fewer_now=terms.fewer_now or terms.resets)
        cycles.follow(w)
    _move_credits(w, change, terms)
    give_back(w, change, terms, NOT_USED)
    if terms.resets:
        key = keys.usage_before(cycles.stem(before), subscription_of(w).cycle_start)
        begun = before.current_period_start
        invoicing.bill_usage(w, key, invoicing.CYCLE, closing=closing, begun=begun, more=charges)
    else:
        _bill_used(w, change, charges)


def take_add_ons(w: Work[SubscriptionFacts], change: SubscriptionChange, invoice: Invoice) -> None:
    """Apply the add-ons that an invoice has charged, with their credits and the remaining notes."""
    terms, charges = used_while_waiting.settled(w, change, invoice)
    items.choose(w, change.wanted, fewer_now=terms.fewer_now)
    give_back(w, change, terms, ADD_ON_NOT_USED)
    cycles.follow(w)
    _bill_used(w, change, charges)


def _bill_used(
    w: Work[SubscriptionFacts], change: SubscriptionChange, charges: Sequence[Line]
) -> None:
    """Bill what was used of the former terms while the change waited for its payment."""
    if charges:
        invoicing.bill(w, keys.used_meanwhile(change.id), charges)


def of_now(w: Work[SubscriptionFacts]) -> Terms:
    """Return the current terms."""
    subscription, seats = subscription_of(w), items.plan_item(w)
    return Terms(
        plan_id=subscription.plan_id,
        price_id=subscription.price_id,
        unit_minor=seats.amount_minor,
        interval=subscription.interval,
        quantity=seats.quantity,
        minimum_minor=subscription.minimum_minor,
    )


def at_price(w: Work[SubscriptionFacts], price: Price) -> Terms:
    """Return the current terms at another price of the plan."""
    lasting = {"quantity": items.plan_item(w).lasting}
    return of_now(w).model_copy(update=lasting | of_price(price))


def of_price(price: Price) -> dict[str, Any]:
    """Return the terms that come with a price."""
    return {
        "price_id": price.id,
        "unit_minor": price.amount_minor,
        "minimum_minor": price.minimum_minor,
    }


def give_back(
    w: Work[SubscriptionFacts], change: SubscriptionChange, terms: Terms, reason: str
) -> None:
    """Write notes for unused time that the change's own invoice did not credit."""
    for note in terms.notes:
        billed = w.rows.get(Invoice, note.invoice_id)
        suffix = f"change-{change.id.hex}"
        # While the change waited for its payment, an operator may have credited some of it.
        amount_minor = min(note.amount_minor, creditable(w.rows, billed))
        new = NewNote("change", amount_minor, reason, suffix, note.lines)
        noted = settling.credit_note(w, billed, new)
        if noted.status != billed.status:
            granting.grant_billed(w, noted)  # the note has settled it


def take_for_next_period(w: Work[SubscriptionFacts], terms: Terms) -> None:
    """Apply terms from the next period on; another interval counts from there, after a trial from
    its billing day.
    """
    fields = spans.after_this(subscription_of(w), terms.interval)
    take(w, terms, drops_add_ons=True, **fields)
    if terms.add_ons is not None:
        plan = w.facts.plans[terms.plan_id]
        items.choose(w, items.sold(w, plan, terms.interval, terms.add_ons), fewer_now=True)


def take(
    w: Work[SubscriptionFacts], terms: Terms, *, drops_add_ons: bool, **fields: Any
) -> Subscription:
    """Apply these terms; add-ons not sold on the same terms end now, or with the period."""
    subscription, plan = subscription_of(w), w.facts.plans[terms.plan_id]
    before = w.facts.plan_of(w.rows)
    threshold = subscription.billing_threshold_minor
    if threshold == before.billing_threshold.get(subscription.currency):
        threshold = plan.billing_threshold.get(subscription.currency)
    w.change(
        items.plan_item(w),
        price_id=terms.price_id,
        description=plan.name,
        quantity=terms.quantity,
        amount_minor=terms.unit_minor,
    )
    sold = plan.add_ons if plan.allowance == terms.interval else ()
    items.end_others(w, sold, at_once=drops_add_ons)
    return cycles.change(
        w,
        plan_id=plan.id,
        plan_key=plan.key,
        price_id=terms.price_id,
        amount_minor=terms.amount_minor,
        interval_unit=terms.interval.unit,
        interval_count=terms.interval.count,
        trial_end_behavior=plan.trial_end_behavior,
        billing_threshold_minor=threshold,
        minimum_minor=terms.minimum_minor,
        **fields,
    )


def _move_credits(w: Work[SubscriptionFacts], change: SubscriptionChange, terms: Terms) -> None:
    """Grant credits until the end of the cycle, or claw them back. Those that a new cycle replaces
    are clawed back and granted anew, so they end with it. Credits to claw back that were not
    granted yet are noted, and will not be granted.
    """
    plan = w.facts.plan_of(w.rows)
    gone = min(max(terms.credits_replaced, -terms.credits, ZERO), plan_credits.unspent(w))
    amount = terms.credits + gone
    if amount > 0:
        _grant_credits(w, change, amount, begins=terms.resets)
    noted = {
        "credits_missed": terms.credits_missed + max(ZERO, -amount),
        "credits_spent": _deducted_though_spent(w, terms, gone),
    }
    if (changed := terms.model_copy(update=noted)) != terms:
        w.change(change, terms=changed.model_dump(mode="json"))
    plan_credits.take(
        w, gone, f"changed to {plan.name}", lambda n: keys.change_take_back(change.id, n)
    )


def _deducted_though_spent(w: Work[SubscriptionFacts], terms: Terms, gone: Decimal) -> Decimal:
    """Return how many of the credits that a new cycle has were spent of the previous one's; those
    that had not come yet were not.
    """
    whole = terms.credits + terms.credits_replaced
    spent = sum((one.kept - one.unspent for one in w.facts.lots), ZERO)
    return max(ZERO, min(terms.credits_replaced - gone, whole, spent))


def _grant_credits(
    w: Work[SubscriptionFacts], change: SubscriptionChange, amount: Decimal, *, begins: bool
) -> None:
    """Grant a change's credits until the end of the cycle, if that is still to come."""
    subscription, plan = subscription_of(w), w.facts.plan_of(w.rows)
    if subscription.cycle_end <= w.facts.at:
        return
    ends = periods.spoken_day(subscription.cycle_end, subscription.zone)
    lot: verbs.NewGrant = {
        "account_id": subscription.account_id,
        "amount": amount,
        "kind": "plan",
        "key": keys.change_grant(change.id),
        "is_paid": False,
        "reason": f"{plan.name}, until {ends}",
        "expires_at": subscription.cycle_end,
        "subject": cycles.stem(subscription),
    }
    kept = rollover.kept(w, amount, subscription.cycle_start, begins=begins)
    if kept is not None:
        lot["kept"] = kept
    w.do(Do(verbs.GRANT, lot))
