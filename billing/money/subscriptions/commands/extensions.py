"""Days that an operator adds: the period, its cycle and the anchor move by them. Pure."""

from uuid import UUID

from billing.core.errors import Conflict
from billing.matters.effects import Work
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.commands.running import wake
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import added_days, cycles, true_ups
from billing.money.subscriptions.schemas import Subscription, SubscriptionChange
from billing.money.subscriptions.states import demand
from billing.money.subscriptions.terms import agreements, change_rows, scheduling

_MOVED = (
    "current_period_end", "cycle_end", "trial_end", "anchor_wall", "period_number",
)  # fmt: skip


def extend(w: Work[SubscriptionFacts], *, days: int, reason: str, change_id: UUID) -> Subscription:
    """End the period `days` later; that costs nothing, and its credits keep their end.

    Errors: SUBSCRIPTION_STATE, also if an end at a date is scheduled; CHANGE_PENDING.
    """
    subscription, at = subscription_of(w), w.facts.at
    demand(subscription.status, "extend")
    if subscription.cancel_at is not None:
        raise Conflict(
            "SUBSCRIPTION_STATE",
            "the subscription ends at a date; reactivate it first",
            state=subscription.status,
        )
    change_rows.demand_none(w.rows)
    extended = added_days.extended(subscription, days, w.facts.plan_of(w.rows).allowance)
    fields = {name: getattr(extended, name) for name in _MOVED}
    fields |= true_ups.spread(subscription) | agreements.extended(subscription, extended, days)
    moved = cycles.change(w, **fields)
    scheduling.follow_period(w)
    w.add(
        SubscriptionChange(
            id=change_id,
            account_id=subscription.account_id,
            subscription_id=subscription.id,
            kind="extend",
            wanted={
                "days": days,
                "reason": reason,
                "period_end": subscription.current_period_end.isoformat(),
            },
            status="applied",
            effective_at=moved.current_period_end,
            created_at=at,
            decided_at=at,
        )
    )
    announce(w, moved, "extended", days=days, reason=reason)
    return wake(w)
