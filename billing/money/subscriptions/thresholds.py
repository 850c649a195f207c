"""The billing threshold: an early invoice as soon as overage reaches an amount.

The use's own transaction notices the crossing (usage_threshold.sql); the subscription's workflow
writes the invoice, and the close of the cycle bills only the rest.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans.rules import SERVED_AND_BILLED
from billing.core import ids
from billing.core.prepared import Prepared
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters.schemas import Matter
from billing.matters.tables import matters as matter_rows
from billing.metering.usage.tables import usage_periods
from billing.money.subscriptions import store
from billing.money.subscriptions.schemas import Subscription
from billing.money.subscriptions.tables import subscriptions
from billing.platform.audit import service as audit

_LOOK = Prepared(text("SELECT usage_threshold(:account_id, :at)"))


async def put(
    connection: AsyncConnection,
    subscription_id: UUID,
    threshold_minor: int | None,
    reason: str,
    at: datetime,
) -> Subscription:
    """Set another threshold, or none; one that is reached already wakes the matter."""
    await store.get(connection, subscription_id, lock=True)
    changed = await store.change(
        connection, subscription_id, billing_threshold_minor=threshold_minor, updated_at=at
    )
    await credits.lock(connection, changed.account_id)
    await _LOOK.run(connection, account_id=changed.account_id, at=at)
    await audit.record(
        connection,
        account_id=changed.account_id,
        action="subscription.threshold_set",
        subject=ids.encode(ids.SUBSCRIPTION, changed.id),
        at=at,
        threshold_minor=threshold_minor,
        reason=reason,
    )
    return changed


async def waiting(connection: AsyncConnection, limit: int) -> list[Matter]:
    """Find matters of subscriptions with use that reached its threshold, across accounts.

    A use does not wait for the subscription's lock, so a matter that read its rows at that instant
    may have missed it; the caller wakes it again.
    """
    found = await connection.execute(
        select(matter_rows)
        .join(
            subscriptions,
            (subscriptions.c.account_id == matter_rows.c.account_id)  # by index
            & (subscriptions.c.id == matter_rows.c.subject_id),
        )
        .join(
            usage_periods,
            (usage_periods.c.account_id == subscriptions.c.account_id)
            & (usage_periods.c.subscription_id == subscriptions.c.id),
        )
        .where(
            usage_periods.c.threshold_at.is_not(None),
            usage_periods.c.closed_at.is_(None),
            subscriptions.c.status.in_(SERVED_AND_BILLED),
            matter_rows.c.kind == "subscription",
            matter_rows.c.status != "halted",
        )
        .limit(limit)
    )
    return [matters.show(row) for row in found.mappings()]
