"""Subscriptions written straight into the rows, for tests of what a plan gives."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.catalog.plans import store
from billing.core import ids
from billing.core.periods import MONTH
from billing.ledger.credits import service as credits
from billing.metering.usage import store as usage_store
from billing.money.subscriptions import store as subscriptions
from tests.integration.broken_books import OF_PURSUIT, excuse

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
    await credits.fix_currency(connection, account_id, price.currency)
    subscription_id = ids.new()
    row = {
        "id": subscription_id,
        "account_id": account_id,
        "plan_id": plan.id,
        "plan_key": plan.key,
        "price_id": price.id,
        "currency": price.currency,
        "amount_minor": price.amount_minor,
        "interval_unit": "month",
        "interval_count": 1,
        "status": status,
        "anchor_wall": start.replace(tzinfo=None),
        "zone": "UTC",
        "current_period_start": start,
        "current_period_end": end,
        "cycle_start": start,
        "cycle_end": end,
        "created_at": start,
        "updated_at": start,
    }
    await subscriptions.add(connection, row, [])
    excuse(account_id, OF_PURSUIT)
    return subscription_id


async def change(connection: AsyncConnection, account_id: UUID, **fields: Any) -> None:
    """The account's subscription goes on otherwise, and its usage period with it."""
    found = await subscriptions.find_open(connection, account_id)
    assert found is not None
    changed = await subscriptions.change(connection, found.id, **fields)
    await usage_store.follow(connection, account_id, max(changed.updated_at, changed.cycle_start))
