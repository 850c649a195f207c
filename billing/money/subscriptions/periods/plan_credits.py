"""Plan credits that are clawed back with the time that they were for. Pure.

A refund or dispute took its share of them, so less of the rest is clawed back
(docs/rules/purchases.md).
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from billing.catalog.plans.schemas import Plan
from billing.core.errors import Conflict
from billing.core.money import ZERO
from billing.ledger.credits import verbs
from billing.matters.effects import Do, Work
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    free_time,
    granting,
    items,
    proration,
    refunded_credits,
    shares,
    unpaid_credits,
)
from billing.money.subscriptions.schemas import Subscription, Terms


def of_plan(subscription: Subscription, plan: Plan, quantity: int, at: datetime) -> Decimal:
    """Return a plan's credits for the rest of a subscription's cycle, from an instant on."""
    part = shares.rest_of_cycle(subscription, plan.allowance, at)
    return proration.credits_share(items.seats_credits(plan, quantity), part)


def refunded(w: Work[SubscriptionFacts]) -> dict[str, Decimal]:
    """Return the credits, by grant, that refunds and disputes took: a change that deducts those
    `granted_for_rest` makes up for them.
    """
    return {one.grant_key: one.missing for one in w.facts.lots if one.missing}


def for_rest(w: Work[SubscriptionFacts], at: datetime) -> Decimal:
    """Return the credits for the rest of the cycle, less what a refund or dispute took."""
    rest = shares.rest_of_cycle(subscription_of(w), w.facts.plan_of(w.rows).allowance, at)
    return proration.credits_share(items.credits_of(w), rest * refunded_credits.kept_part(w))


def granted_for_rest(w: Work[SubscriptionFacts], at: datetime) -> Decimal:
    """Return the credits for the rest of the cycle; none if they were never granted and their
    invoice was given up.
    """
    return ZERO if granting.are_given_up(w) else for_rest(w, at)


def deducted(w: Work[SubscriptionFacts], wanted: Terms, at: datetime) -> Decimal:
    """Return the credits for the rest of the cycle that a change deducts from those that it brings.

    From a free plan to one with a price only the unspent ones are deducted.
    """
    gone = granted_for_rest(w, at)
    if wanted.amount_minor and not subscription_of(w).amount_minor:
        return min(gone, unspent(w))
    return gone


def at_most_of_month(
    w: Work[SubscriptionFacts],
    after: Subscription,
    plan: Plan,
    wanted: Terms,
    given: Decimal,
    gone: Decimal,
) -> Decimal:
    """Return how many of the credits that a change brings (`given`) a plan without a price may
    grant: as many as free plans have left in the calendar month. `gone` are those it deducts.
    """
    whole = items.seats_credits(plan, wanted.quantity)
    left = free_time.left_in_month(w, plan.allowance, after.cycle_start, whole)
    # Those of another plan without a price count in the month already.
    return min(given, left if subscription_of(w).amount_minor else left + gone)


def unspent(w: Work[SubscriptionFacts]) -> Decimal:
    """Return the credits that can be clawed back."""
    return sum((one.unspent for one in w.facts.lots), ZERO)


def can_be_clawed_back(w: Work[SubscriptionFacts], amount: Decimal) -> bool:
    """True if that many can be clawed back, or if none of the granted credits was spent."""
    kept = sum((one.kept for one in w.facts.lots), ZERO)
    return min(amount, kept) <= unspent(w)


def demand(w: Work[SubscriptionFacts], amount: Decimal) -> None:
    """Raise CREDITS_SPENT if that many cannot be clawed back."""
    if not can_be_clawed_back(w, amount):
        raise Conflict("CREDITS_SPENT")


def take(
    w: Work[SubscriptionFacts], amount: Decimal, reason: str, key: Callable[[int], str]
) -> None:
    """Claw back that many credits: those of the current cycle before those of one that a change has
    cut, and of each first those of which least is paid, then those that do not roll over, then the
    newest. So the older ones stay, for their own time: a refund of its price takes them.
    """
    unpaid, newest_first = unpaid_credits.parts(w), reversed(w.facts.lots)
    lots = sorted(
        newest_first, key=lambda one: (one.is_cut, -unpaid.get(one.origin, 0), one.rolls_over)
    )
    left = amount
    for number, one in enumerate(lots, start=1):
        part = min(left, one.unspent)
        if part > 0:
            left -= part
            taken: verbs.NewClawback = {
                "account_id": subscription_of(w).account_id,
                "grant_key": one.grant_key,
                "amount": part,
                "key": key(number),
                "reason": reason,
            }
            w.do(Do(verbs.CLAWBACK, taken))
