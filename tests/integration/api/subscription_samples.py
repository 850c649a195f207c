"""Samples of subscriptions for the tenant matrix."""

from typing import Any

from sqlalchemy import select

from billing.core import ids, row_writes
from billing.core.clock import real_now
from billing.core.periods import MONTH
from billing.money.subscriptions import service as subscriptions
from billing.money.subscriptions.schemas import NewSubscription
from billing.money.subscriptions.tables import subscription_changes
from billing.money.subscriptions.tables import subscriptions as subscription_rows
from tests.integration.api_app import Api

Account = dict[str, Any]


async def subscription(api: Api, account: Account) -> str:
    """A subscription that waits for its first payment."""
    subscription_id = ids.new()
    account_id = ids.decode(ids.ACCOUNT, account["id"])
    async with api.database.tenant(account_id) as connection:
        await subscriptions.start(
            connection,
            account_id,
            NewSubscription(plan="basic", interval=MONTH, trial=False, pay_by_card=True),
            subscription_id=subscription_id,
        )
    return ids.encode(ids.SUBSCRIPTION, subscription_id)


async def change(api: Api, account: Account) -> str:
    """A change of plan of that subscription, called off already."""
    change_id, at = ids.new(), real_now()
    account_id = ids.decode(ids.ACCOUNT, account["id"])
    async with api.database.tenant(account_id) as connection:
        whose = await connection.scalar(
            select(subscription_rows.c.id).where(subscription_rows.c.account_id == account_id)
        )
        row = {
            "id": change_id, "account_id": account_id, "kind": "plan", "wanted": {"plan": "pro"},
            "subscription_id": whose, "terms": {"quantity": 1},
            "status": "canceled", "effective_at": at, "created_at": at, "decided_at": at,
        }  # fmt: skip
        await row_writes.add(connection, subscription_changes, row)
    return ids.encode(ids.CHANGE, change_id)
