"""Announces a subscription's events to audit and outbox. Pure."""

from typing import Any

from billing.core import ids
from billing.matters.effects import Work
from billing.money.subscriptions.schemas import Subscription


def announce(w: Work[Any], subscription: Subscription, what: str, **detail: Any) -> None:
    """Write one audit row and one `evt.billing.subscription.*`."""
    subject = ids.encode(ids.SUBSCRIPTION, subscription.id)
    facts = {
        "subscription_id": subject,
        "plan": subscription.plan_key,
        "status": subscription.status,
        "current_period_end": subscription.current_period_end.isoformat(),
        **detail,
    }
    if subscription.cancel_reason is not None:
        facts["cancel_reason"] = subscription.cancel_reason
    w.announce(subscription.account_id, f"subscription.{what}", subject, facts)
