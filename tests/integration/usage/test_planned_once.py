"""Counting many uses again plans no statement for each of them."""

from typing import Any, Final

import pytest
from psycopg.errors import Diagnostic
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.test_plans_of_giants import NEW, copy, decide
from tests.integration.usage.test_tiered_prices import sell

FEWER, MORE = 10, 30
"""Uses. Postgres by itself plans the first five calls of a function anew."""
BY_VALUE: Final[dict[str, Any]] = {
    "model": "percentage", "percentage": {"percent": "1", "fixed_price": "1"},
}  # fmt: skip
USE: Final = "(left((one.t).id::text, 24) || lpad(n::text, 12, '0'))::uuid"
"""The id of another use of the same time."""
VOIDS: Final[dict[str, str]] = {
    "id": f"usage_void_id({USE})",
    "voids": USE,
    "usage_amount": "-4",
    "charged_units": "-4",
    "total_amount": "-1.04",
    "billing_status": "'refunded'",
}
COUNTED: Final = """usage_count_again(:me, ARRAY(
    SELECT id FROM billing_records WHERE account_id = :me), 1)"""


async def planned(connection: AsyncConnection, statement: str, **values: Any) -> int:
    """Count the statements that Postgres plans for this one."""
    found = list[str | None]()

    def note(told: Diagnostic) -> None:
        found.append(told.message_primary)

    driver: Any = (await connection.get_raw_connection()).driver_connection
    driver.add_notice_handler(note)
    await connection.execute(text(f"SELECT {statement}"), values)
    driver.remove_notice_handler(note)
    return found.count("PLANNER STATISTICS")


async def for_uses(
    connection: AsyncConnection, shop: Shop, statement: str, **changed: str
) -> list[int]:
    """The statements planned for fewer and for more copies of the account's last use, once the
    connection has kept what it keeps.
    """
    plans = []
    for many in FEWER, FEWER, MORE:
        async with connection.begin_nested() as grown:
            await copy(connection, shop, "billing_records", many, **(NEW | changed))
            await connection.execute(text("SET LOCAL log_planner_stats = on"))
            await connection.execute(text("SET LOCAL client_min_messages = log"))
            await decide(connection, shop)
            plans.append(await planned(connection, statement, me=shop.id))
            await grown.rollback()
    return plans[1:]


@pytest.mark.parametrize("changed", [{}, VOIDS], ids=["uses", "voids"])
async def test_counting_uses_again_plans_nothing_for_each(
    new_shop: NewShop, superuser: AsyncConnection, changed: dict[str, str]
) -> None:
    """Each is looked at: whether its product had tiers, and what a void takes back."""
    shop = await new_shop("100")
    product = await sell(shop, "CREDIT", BY_VALUE)
    await shop.record("4", product_id=product)
    fewer, more = await for_uses(superuser, shop, COUNTED, **changed)
    assert 0 < more == fewer
