"""Uses beyond a plan that are included or priced again are looked for in their own months."""

from typing import Any, Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.integration.catalog.subscribing import START
from tests.integration.usage.conftest import NewShop
from tests.integration.usage.shops_on_plans import NOW
from tests.integration.usage.test_agreed_limits import AI, agree, on_plan
from tests.integration.usage.test_paid_records import near

TIERS: Final[dict[str, Any]] = {
    "model": "graduated", "tiers": [{"up_to": "10", "unit_price": "1"}, {"unit_price": "0.5"}],
}  # fmt: skip
OUT_OF_DATE: Final = (
    (
        "UPDATE billing_records SET total_amount = total_amount + 1"
        " WHERE account_id = :me AND charged_units > 0"
    ),
    (
        "UPDATE usage_periods SET limits = jsonb_set(limits, '{ai_responses,included}', '\"3\"')"
        " WHERE account_id = :me"
    ),
)
AGAIN: Final = (
    "usage_allot_again(:me, :start, 'ai_responses', 1, :at)",
    "usage_price_again(:me, :start, 'ai_responses', :at)",
)
LOOKS_FOR_ALL: Final = 2
"""For those that wait, and for the prices that they had."""
LOOKS: Final = text(
    "SELECT relname, coalesce(idx_scan, 0) + coalesce(seq_scan, 0) AS looks"
    " FROM pg_stat_xact_user_tables WHERE starts_with(relname, 'billing_records_')"
)


async def looks(connection: AsyncConnection) -> dict[str, int]:
    """Count the reads of each month."""
    return {row.relname: row.looks for row in await connection.execute(LOOKS)}


@pytest.mark.parametrize("again", AGAIN)
async def test_only_those_that_wait_are_looked_for_in_every_month(
    new_shop: NewShop, superuser: AsyncConnection, again: str
) -> None:
    shop = await on_plan(new_shop, "basic")
    await agree(shop, included="1", then="overage", prices={"USD": TIERS})
    for amount in ("4", "5", "6"):
        await shop.record(amount, **AI)
    values = {"me": shop.id, "start": START, "at": NOW}
    for change in OUT_OF_DATE:
        await superuser.execute(text(change), {"me": shop.id})
    counted = text("SELECT sum(total_amount) FROM billing_records WHERE account_id = :me")
    before, known = await superuser.scalar(counted, {"me": shop.id}), await looks(superuser)
    await superuser.execute(text(f"SELECT {again}"), values)
    far = {
        name: many - known.get(name, 0)
        for name, many in (await looks(superuser)).items()
        if name not in near()
    }
    assert max(far.values()) <= LOOKS_FOR_ALL
    assert await superuser.scalar(counted, {"me": shop.id}) < before


CALLS: Final = text(
    "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_xact_user_functions"
    " WHERE funcname = 'usage_months_of'"
)


async def calls(superuser: AsyncConnection, again: str, values: dict[str, Any]) -> int:
    """Count how often months are computed, with the plans that decisions have."""
    for setting in ("track_functions = 'all'", "plan_cache_mode = 'force_generic_plan'"):
        await superuser.execute(text(f"SET LOCAL {setting}"))
    before = await superuser.scalar(CALLS)
    await superuser.execute(text(f"SELECT {again}"), values)
    return int(await superuser.scalar(CALLS)) - int(before)


@pytest.mark.parametrize("again", AGAIN)
async def test_the_months_are_computed_once_for_all_uses(
    new_shop: NewShop, superuser: AsyncConnection, again: str
) -> None:
    """For each use anew, a thousand of them took half a minute."""
    shop = await on_plan(new_shop, "basic")
    await agree(shop, included="1", then="overage", prices={"USD": TIERS})
    for _ in range(9):
        await shop.record("4", **AI)
    for change in OUT_OF_DATE:
        await superuser.execute(text(change), {"me": shop.id})
    values = {"me": shop.id, "start": START, "at": NOW}
    months = len(await looks(superuser))
    # To take them out of each month's counters, to write them, and to count them again.
    assert 0 < await calls(superuser, again, values) <= 2 * months + 3
