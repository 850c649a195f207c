"""Uses put off in great number: what is read for one of them does not grow with all of them."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.integration.usage.conftest import NewShop, Shop

MANY: Final = 300
BOUGHT: Final[dict[str, Any]] = {
    "product_id": "gpt-4", "usage_amount": "50", "billing_method": "wallet_deduction",
    "on_insufficient": "defer",
}  # fmt: skip
_SETTLE: Final = text("SELECT count(*) FROM usage_settle(:me, now(), 200, :looked_at)")
_CALLS: Final = text("SELECT funcname, calls FROM pg_stat_xact_user_functions")


@asynccontextmanager
async def counted(shop: Shop) -> AsyncIterator[AsyncConnection]:
    """A transaction whose calls of functions Postgres counts."""
    engine = create_async_engine(shop.api.stack.superuser_url)
    async with engine.begin() as connection:
        await connection.execute(text("SET LOCAL track_functions = 'pl'"))
        await connection.execute(text(f"SET LOCAL app.accounts = '{shop.id}'"))
        await connection.execute(text("SET LOCAL ROLE billing_app"))
        yield connection
    await engine.dispose()


async def settle(connection: AsyncConnection, shop: Shop, looked_at: int) -> tuple[int, int]:
    """Pay what credits cover: how many uses were paid, and how many debits were tried."""
    before = await _calls(connection)
    paid = await connection.scalar(_SETTLE, {"me": shop.id, "looked_at": looked_at})
    tried = (await _calls(connection) - before)["credit_debit_many"]
    return int(paid or 0), tried


async def _calls(connection: AsyncConnection) -> Counter[str]:
    return Counter({row.funcname: row.calls for row in await connection.execute(_CALLS)})


async def is_asked(connection: AsyncConnection, shop: Shop) -> bool:
    """True if the account's matter is to look at more."""
    asked = text("SELECT EXISTS (SELECT FROM unpaid_retries WHERE account_id = :me)")
    return bool(await connection.scalar(asked, {"me": shop.id}))


async def owing(new_shop: NewShop) -> Shop:
    """A shop with uses that only bought credits pay, and then one that any do."""
    shop = await new_shop()
    done = await shop.batch(*[BOUGHT] * MANY)
    assert done["recorded"] == MANY, done
    await shop.record("500", on_insufficient="defer")
    return shop


async def test_no_debit_is_tried_of_credits_that_may_not_pay_the_use(new_shop: NewShop) -> None:
    shop = await owing(new_shop)
    await shop.grant("3", paid=False)
    async with counted(shop) as connection:
        assert await settle(connection, shop, 1_000) == (1, 1)
        assert not await is_asked(connection, shop)
    for bought, scope, paid in ("0.05", None, 0), ("1", "ai_responses", 0), ("0.05", None, 1):
        await shop.grant(bought, scope=scope)
        async with counted(shop) as connection:
            assert await settle(connection, shop, 1_000) == (paid, paid)


async def test_a_step_looks_at_a_part_and_the_next_one_goes_on_from_there(
    new_shop: NewShop,
) -> None:
    shop = await owing(new_shop)
    await shop.grant("3", paid=False)
    async with counted(shop) as connection:
        for part in range(MANY // 100):
            assert await settle(connection, shop, 100) == (0, 0), part
            assert await is_asked(connection, shop)
        assert await settle(connection, shop, 100) == (1, 1)
        assert not await is_asked(connection, shop)


async def test_credits_that_arrive_in_between_pay_from_the_oldest_on(new_shop: NewShop) -> None:
    shop = await owing(new_shop)
    await shop.grant("3", paid=False)
    async with counted(shop) as connection:
        assert await settle(connection, shop, 100) == (0, 0)
    await shop.grant("0.2")
    async with counted(shop) as connection:
        assert await settle(connection, shop, 100) == (2, 2)
