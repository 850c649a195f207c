"""A subscription that somebody altered by hand has not what its price sells, or its state says."""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.integrity import service
from tests.integration.actors import Customer

ENTERPRISE = "(SELECT id FROM plans WHERE key = 'enterprise' AND is_current)"


@pytest.mark.parametrize(
    "altered", [f"plan_id = {ENTERPRISE}", "plan_key = 'enterprise'", "interval_unit = 'year'"]
)
async def test_another_plan_or_interval_than_its_price_s_is_found(
    customer: Customer, superuser: AsyncConnection, altered: str
) -> None:
    await customer.subscribed("pro")
    assert (await service.evaluate(superuser, customer.uuid)).ok
    await superuser.execute(
        text(f"UPDATE subscriptions SET {altered} WHERE account_id = :me"), {"me": customer.uuid}
    )
    found = (await service.evaluate(superuser, customer.uuid)).wrong
    assert "subscriptions_priced" in {one.name for one in found}


@pytest.mark.parametrize(
    "altered",
    [
        "status = 'trialing'",
        "status = 'paused'",
        "cycle_end = current_period_end + interval '1 day'",
    ],
)
async def test_dates_of_another_state_are_found(
    customer: Customer, superuser: AsyncConnection, altered: str
) -> None:
    await customer.subscribed("pro")
    await superuser.execute(
        text(f"UPDATE subscriptions SET {altered} WHERE account_id = :me"), {"me": customer.uuid}
    )
    found = (await service.evaluate(superuser, customer.uuid)).wrong
    assert "states_dated" in {one.name for one in found}
