"""Telling audit and outbox what happened to a subscription."""

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.events import service as events
from billing.subscriptions.schemas import Subscription


async def announce(
    connection: AsyncConnection,
    subscription: Subscription,
    what: str,
    at: datetime,
    **detail: Any,
) -> None:
    """One audit row and one `evt.billing.subscription.*`."""
    subject = ids.encode(ids.SUBSCRIPTION, subscription.id)
    facts = {
        "subscription_id": subject,
        "plan": subscription.plan_key,
        "status": subscription.status,
        "current_period_end": subscription.current_period_end.isoformat(),
        **detail,
    }
    await events.announce(
        connection,
        account_id=subscription.account_id,
        action=f"subscription.{what}",
        subject=subject,
        facts=facts,
        at=at,
    )
