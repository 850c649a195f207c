"""Plan credits that roll over into the next cycle, by the plan's rule. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import Final

from billing.catalog.plans.rules import SERVED_AND_BILLED
from billing.catalog.plans.schemas import Plan
from billing.core import ids
from billing.core.money import ZERO
from billing.ledger.credits import verbs
from billing.ledger.credits.schemas import Kept
from billing.matters.effects import Do, Work
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import spans
from billing.money.subscriptions.rules import ENDED
from billing.money.subscriptions.schemas import Subscription, SubscriptionChange

FOLLOWED: Final = frozenset(
    {"status", "cycle_start", "cycle_end", "cancel_at", "cancel_at_period_end"}
)
"""Fields that decide until when credits roll over."""


def kept(
    w: Work[SubscriptionFacts], amount: Decimal, start: datetime, *, begins: bool = True
) -> Kept | None:
    """Return the part of the credits of the cycle from `start` on that may roll over, and until
    when; nothing for a cycle that is over.

    The cap of a cycle includes earlier grants, unless the cycle `begins` with these.
    """
    subscription, most, before = subscription_of(w), cap(w.facts.plan_of(w.rows)), ZERO
    if not begins:
        before = sum((one.kept for one in w.facts.lots if one.rolls_over), before)
    part, until = min(amount, most - before), _until(w)
    if part <= 0 or start != subscription.cycle_start or until is None:
        return None
    end = subscription.cycle_end
    return Kept(amount=part, cap=most, cycle_start=start, cycle_end=end, until=until)


def cap(plan: Plan) -> Decimal:
    """Return the maximum credits of one cycle that roll over into the next."""
    return plan.rollover.credits if plan.rollover.policy == "cap" else ZERO


def follow(w: Work[SubscriptionFacts], before: Subscription | None = None) -> None:
    """Move credits that roll over from the cycle of `before` to the current one; if that one
    begins, they roll over.
    """
    if not cap(w.facts.plan_of(w.rows)) and not w.facts.keeps:
        return
    subscription = subscription_of(w)
    before = before or subscription
    cycle: verbs.RolledOver = {
        "account_id": subscription.account_id,
        "subject": ids.encode(ids.SUBSCRIPTION, subscription.id),
        "before": before.cycle_end,
        "start": subscription.cycle_start,
        "end": subscription.cycle_end,
        "until": _until(w),
        "begins": subscription.cycle_start != before.cycle_start,
        "at": w.facts.at,
    }
    w.do(Do(verbs.ROLL_OVER, cycle))


def _until(w: Work[SubscriptionFacts]) -> datetime | None:
    """Return the end of the next cycle, as far as it is known now; if none follows, of this one.

    None: it has ended or is paused, so nothing rolls over again.
    """
    s = subscription_of(w)
    if s.status in ENDED or s.status == "paused":
        return None
    if s.status == "incomplete":
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
    """True if a pause comes with the end of the period."""
    return subscription_of(w).status in SERVED_AND_BILLED and any(
        one.is_scheduled("pause") for one in w.rows.of(SubscriptionChange)
    )
