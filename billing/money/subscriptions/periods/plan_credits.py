"""Credits of the plan that go with the time that they were for. Pure.

A refund or dispute took its share of all of them: of the rest so much less is asked back
(docs/rules.md#purchases).
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from billing.catalog.plans.schemas import Plan
from billing.core.errors import Conflict
from billing.matters.effects import Do, Work
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.periods import cycles, granting, items, proration, spans
from billing.money.subscriptions.schemas import Subscription


def of_plan(subscription: Subscription, plan: Plan, quantity: int, at: datetime) -> Decimal:
    """Those of a plan for the rest of a subscription's cycle, from an instant on."""
    part = spans.rest_of_cycle(subscription, plan.allowance, at)
    return proration.credits_share(items.seats_credits(plan, quantity), part)


def kept_part(w: Work[SubscriptionFacts]) -> Fraction:
    """The part of the plan's credits that no refund or dispute took."""
    kept = sum((one.kept for one in w.facts.lots), Decimal(0))
    refunded = sum((one.refunded for one in w.facts.lots), Decimal(0))
    return Fraction(kept) / Fraction(kept + refunded) if refunded else Fraction(1)


def of_rest(w: Work[SubscriptionFacts], at: datetime) -> Decimal:
    """Those for the rest of the cycle from an instant on, without what a refund or dispute took."""
    rest = spans.rest_of_cycle(cycles.of(w), w.facts.plan_of(w.rows).allowance, at)
    return proration.credits_share(items.credits_of(w), rest * kept_part(w))


def that_go(w: Work[SubscriptionFacts], at: datetime) -> Decimal:
    """Those of the rest that a change takes off what it brings: none that never came, and whose
    money nobody asks for any more.
    """
    return Decimal(0) if granting.are_given_up(w) else of_rest(w, at)


def unspent(w: Work[SubscriptionFacts]) -> Decimal:
    """All that can be taken back."""
    return sum((one.unspent for one in w.facts.lots), Decimal(0))


def are_there(w: Work[SubscriptionFacts], amount: Decimal) -> bool:
    """True if so many can be taken back, or all that there still are were not spent."""
    kept = sum((one.kept for one in w.facts.lots), Decimal(0))
    return min(amount, kept) <= unspent(w)


def demand(w: Work[SubscriptionFacts], amount: Decimal) -> None:
    """Error: CREDITS_SPENT, where so many cannot be taken back."""
    if not are_there(w, amount):
        raise Conflict(
            "CREDITS_SPENT", "credits of the plan are spent already: have it at period_end"
        )


def take(
    w: Work[SubscriptionFacts], amount: Decimal, reason: str, key: Callable[[int], str]
) -> None:
    """Take so many back, those that end first before the others."""
    left = amount
    for number, one in enumerate(w.facts.lots, start=1):
        part = min(left, one.unspent)
        if part > 0:
            left -= part
            taken = {
                "account_id": cycles.of(w).account_id,
                "grant_key": one.grant_key,
                "amount": part,
                "key": key(number),
                "reason": reason,
            }
            w.do(Do("clawback", taken))
