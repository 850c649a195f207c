"""Samples of usage for the tenant matrix: a record, a quota and a budget of an account."""

from decimal import Decimal
from typing import Any

from billing.core import ids
from billing.core.clock import real_now
from billing.metering.budgets import service as budgets
from billing.metering.budgets.schemas import NewBudget
from billing.metering.quotas import store as quotas
from billing.metering.usage.tables import billing_records
from tests.integration.api_app import Api

Account = dict[str, Any]


async def used(api: Api, account: Account) -> str:
    """A use that was put off, of the user who calls, as its billing record."""
    record_id, at = ids.new(), real_now()
    async with api.database.operator() as connection:
        await connection.execute(
            billing_records.insert().values(
                id=record_id,
                account_id=ids.decode(ids.ACCOUNT, account["id"]),
                request_hash=1,
                user_id="tester",
                product_id="gpt-4",
                service_type="model_inference",
                meter="model_inference",
                usage_amount=1,
                included_units=0,
                charged_units=1,
                unit_price=Decimal("0.002"),
                total_amount=Decimal("0.002"),
                currency="CREDIT",
                billing_method="credit_consumption",
                billing_status="pending",
                is_free_tier=False,
                is_late=False,
                period_start=at,
                day_at=at,
                occurred_at=at,
                created_at=at,
                updated_at=at,
            )
        )
    return ids.encode(ids.BILLING_RECORD, record_id)


async def quota(api: Api, account: Account) -> str:
    """A quota of the account."""
    async with api.database.operator() as connection:
        made = await quotas.put(
            connection,
            ids.decode(ids.ACCOUNT, account["id"]),
            owner="",
            meter="chat_messages",
            window="month",
            span_seconds=None,
            limit=Decimal(5),
            hard=True,
            percents=[100],
            at=real_now(),
        )
    return ids.encode(ids.QUOTA, made.id)


async def budget(api: Api, account: Account) -> str:
    """A budget of the account."""
    account_id = ids.decode(ids.ACCOUNT, account["id"])
    wanted = NewBudget(
        measure="credits", window="month", limit=Decimal(100), alert_percents=(100,), then="notify"
    )
    async with api.database.tenant(account_id) as connection:
        made = await budgets.put(connection, account_id, wanted)
    return ids.encode(ids.BUDGET, made.id)
