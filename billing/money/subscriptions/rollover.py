"""Credits of the plan that live on into the next cycle, by the plan's rule. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from billing.catalog.plans.schemas import Plan
from billing.matters.effects import Do, Work
from billing.money.subscriptions import spans
from billing.money.subscriptions.facts import SubscriptionFacts
from billing.money.subscriptions.rules import RUNNING
from billing.money.subscriptions.schemas import Subscription, SubscriptionChange

FOLLOWED: Final = frozenset(
    {"status", "cycle_start", "cycle_end", "cancel_at", "cancel_at_period_end"}
)
"""Fields that say until when credits live on."""


def kept(
    w: Work[SubscriptionFacts], amount: Decimal, end: datetime, *, begins: bool = True
) -> dict[str, Any]:
    """The part of credits that end with the running cycle which may live on, and until when.

    Of one cycle no more than the cap: what came before counts, unless a cycle begins with them.
    """
    plan, before = w.facts.plan_of(w.rows), Decimal(0)
    if not begins:
        before = sum((one.kept for one in w.facts.lots if one.rolls_over), before)
    part = min(amount, cap(plan) - before)
    if part <= 0 or end != _of(w).cycle_end:
        return {}
    return {"kept": part, "kept_until": _until(w)}


def cap(plan: Plan) -> Decimal:
    """The most credits of one cycle that live on into the next."""
    return plan.rollover.credits if plan.rollover.policy == "cap" else Decimal(0)


def follow(
    w: Work[SubscriptionFacts], *, begins: bool = False, coming: Decimal = Decimal(0)
) -> None:
    """Credits that live on follow the cycle of now; with one that `begins` they roll over.

    Of those that are `coming` with it as many as may live on go before.
    """
    most = max(cap(plan) for plan in w.facts.plans.values())
    if not most:
        return
    own = cap(w.facts.plan_of(w.rows))
    subscription = _of(w)
    cycle = {
        "account_id": subscription.account_id,
        "start": subscription.cycle_start,
        "end": subscription.cycle_end,
        "until": _until(w),
        "begins": begins,
        "cap": most,
        "room": max(own - coming, Decimal(0)),
        "at": w.facts.at,
    }
    w.do(Do("roll_over", cycle))


def _until(w: Work[SubscriptionFacts]) -> datetime:
    """The end of the next cycle, as far as it is known now; where none follows that of this one."""
    s = _of(w)
    if s.status != "trialing" and s.status not in RUNNING:
        return s.cycle_end
    allowance = w.facts.plan_of(w.rows).allowance
    if s.cycle_end < s.current_period_end and not _ends_at(s, s.cycle_end):
        return spans.cycle_end(s, allowance, s.cycle_end, s.current_period_end)
    if s.cancel_at_period_end or _ends_at(s, s.cycle_end) or _pauses(w):
        return s.cycle_end
    _, end = spans.next_period(s)
    return spans.cycle_end(s, allowance, s.current_period_end, end)


def _ends_at(s: Subscription, at: datetime) -> bool:
    return s.cancel_at is not None and s.cancel_at <= at


def _pauses(w: Work[SubscriptionFacts]) -> bool:
    """True if a pause comes with the end of the period; a trial does not pause."""
    changes = w.rows.of(SubscriptionChange)
    return _of(w).status != "trialing" and any(
        (one.kind, one.status) == ("pause", "scheduled") for one in changes
    )


def _of(w: Work[SubscriptionFacts]) -> Subscription:
    return w.rows.get(Subscription, w.facts.subscription_id)
