"""The notice that the trial of a plan ends soon. Pure."""

from datetime import datetime, timedelta
from typing import Final

from billing.matters.effects import Work
from billing.money.subscriptions.announcements import announce
from billing.money.subscriptions.facts import SubscriptionFacts, subscription_of
from billing.money.subscriptions.periods import items
from billing.money.subscriptions.schemas import Subscription
from billing.money.subscriptions.terms import scheduling

AHEAD: Final = timedelta(days=3)


def notice_at(row: Subscription) -> datetime | None:
    """Return when the notice is due: at once in a shorter trial; None: there is none to come."""
    if row.status != "trialing" or row.trial_told_at is not None:
        return None
    return max(row.current_period_end - AHEAD, row.current_period_start)


def notify(w: Work[SubscriptionFacts]) -> None:
    """Tell once per trial when it ends, and what the plan costs from then on."""
    told = w.change(subscription_of(w), trial_told_at=w.facts.at)
    first = scheduling.coming(w, told.current_period_end)
    price = items.next_period_price(first.rows)
    announce(w, told, "trial_ending", price_cents=price, currency=told.currency)
    w.result = f"it ends at {told.current_period_end.isoformat()}"
