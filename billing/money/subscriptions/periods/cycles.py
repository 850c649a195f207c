"""Changes of a subscription, and what follows them: its usage period and rollover. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypedDict
from uuid import UUID

from billing.core import ids
from billing.matters.effects import Do, Operation, Work
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import (
    agreed_limits,
    items,
    proration,
    rollover,
    shares,
    spans,
)
from billing.money.subscriptions.rules import ENDED
from billing.money.subscriptions.schemas import CrossedPeriod, Subscription


class OpenedUsagePeriod(TypedDict):
    """The account whose usage period follows its subscription from an instant on."""

    account_id: UUID
    at: datetime


OPEN_USAGE_PERIOD: Final = Operation[OpenedUsagePeriod]("open_usage_period")
FOLLOWED: Final = frozenset({"status", "plan_id", "amount_minor", "cycle_start", "cycle_end"})
"""Fields that the account's usage period follows."""
_BOUNDING: Final = frozenset({"current_period_end", "cancel_at_period_end", "cancel_at"})
"""Fields that say until when the terms of that period hold."""


def change(w: Work[SubscriptionFacts], **fields: Any) -> Subscription:
    """Overwrite fields of the subscription; the account's usage period and rollover follow."""
    before = subscription_of(w)
    changed = w.change(before, **fields, updated_at=w.facts.at)
    if (changed.cycle_start, changed.cycle_end) != (before.cycle_start, before.cycle_end):
        allowance = w.facts.plan_of(w.rows).allowance
        changed = w.change(changed, **spans.cut_cycle(before, changed, allowance))
    changed = _served(w, before, changed)
    if fields.keys() & FOLLOWED and changed.status != "incomplete":
        agreed_limits.align(w, before, changed)
    if fields.keys() & (FOLLOWED | _BOUNDING) and changed.status != "incomplete":
        follow(w)
    if fields.keys() & rollover.FOLLOWED:
        rollover.follow(w, before)
    return changed


def _served(
    w: Work[SubscriptionFacts], before: Subscription, changed: Subscription
) -> Subscription:
    """While `unpaid`, late uses move the instant from which the cycle was not served, until it is
    over.
    """
    served = changed.served_until
    if served is None or before.cycle_start > served:
        return changed
    used = shares.used_until(before, w.facts.used_share, served)
    return w.change(changed, unserved_since=used) if used > served else changed


def follow(w: Work[SubscriptionFacts]) -> None:
    """Open the usage period of the subscription's cycle, or the one after its end."""
    subscription = subscription_of(w)
    since = max(w.facts.at, subscription.cycle_start)
    cut = usage_cut(w)
    for period in w.rows.of(CrossedPeriod):
        if period.closed_at is None and period.start_at < cut:
            w.change(period, end_at=min(period.end_at, cut), closed_at=since)
    opened = OpenedUsagePeriod(account_id=subscription.account_id, at=since)
    w.do(Do(OPEN_USAGE_PERIOD, opened))


def usage_cut(w: Work[SubscriptionFacts]) -> datetime:
    """Return the instant at which every usage period that began earlier has ended."""
    subscription = subscription_of(w)
    return w.facts.at if subscription.status in ENDED else subscription.cycle_start


def cycle_credits(w: Work[SubscriptionFacts], subscription: Subscription) -> Decimal:
    """Return the plan's credits of the cycle; a short cycle has fewer.

    Those of a free plan are a month's, granted once, also if its cycle is cut in two.
    """
    if not subscription.amount_minor:
        return items.credits_of(w)
    part = shares.of_cycle(subscription, w.facts.plan_of(w.rows).allowance)
    return proration.credits_share(items.credits_of(w), part)


def stem(subscription: Subscription) -> str:
    """Return the beginning of the subscription's keys."""
    return ids.encode(ids.SUBSCRIPTION, subscription.id)
