"""Announces a subscription's events to audit and outbox. Pure."""

from typing import Any, Final

from billing.core import ids
from billing.matters.effects import Facts, Work
from billing.money.subscriptions.schemas import Subscription

HOW_TO_CANCEL: Final = "POST /billing/subscription/cancel before that date"


def announce(w: Work[Facts], subscription: Subscription, what: str, **detail: Any) -> None:
    """Write one audit row and one `evt.billing.subscription.*`.

    Its common fields are the subscription's own: no detail replaces them.
    """
    facts = detail | common(subscription)
    w.announce(subscription.account_id, f"subscription.{what}", facts["subscription_id"], facts)


def common(subscription: Subscription) -> dict[str, Any]:
    """Return the fields that all events of a subscription have."""
    facts = {
        "subscription_id": ids.encode(ids.SUBSCRIPTION, subscription.id),
        "plan": subscription.plan_key,
        "status": subscription.status,
        "current_period_end": subscription.current_period_end.isoformat(),
    }
    if subscription.cancel_reason is not None:
        facts["cancel_reason"] = subscription.cancel_reason
    return facts
