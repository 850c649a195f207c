"""Subscriptions written straight into the rows, for tests of what a plan gives."""

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog import store
from billing.core import ids
from billing.core.periods import MONTH
from billing.subscriptions.tables import subscriptions

START = datetime(2027, 1, 1, tzinfo=UTC)
END = datetime(2027, 2, 1, tzinfo=UTC)


async def subscribe(
    connection: AsyncConnection,
    account_id: UUID,
    plan_key: str,
    status: str,
    start: datetime = START,
    end: datetime = END,
) -> UUID:
    """An account's subscription to the current version of a plan, monthly, in USD."""
    plan = await store.find_plan(connection, plan_key)
    price = await store.plan_price(connection, plan_key, "USD", MONTH)
    assert plan is not None
    assert price is not None
    subscription_id = ids.new()
    await connection.execute(
        insert(subscriptions).values(
            id=subscription_id,
            account_id=account_id,
            plan_id=plan.id,
            plan_key=plan.key,
            price_id=price.id,
            currency=price.currency,
            amount_minor=price.amount_minor,
            interval_unit="month",
            interval_count=1,
            status=status,
            anchor_wall=start.replace(tzinfo=None),
            zone="UTC",
            current_period_start=start,
            current_period_end=end,
            cycle_start=start,
            cycle_end=end,
            created_at=start,
            updated_at=start,
        )
    )
    return subscription_id
