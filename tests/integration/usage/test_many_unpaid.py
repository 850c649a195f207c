"""Uses put off in great number: what is read for one of them does not grow with all of them."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.integration.usage.conftest import NewShop, Shop

MANY: Final = 300
PART: Final = 50
"""As many as one statement puts off well within its time, also on a busy machine."""
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
        await connection.execute(text("SET LOCAL track_functions = 'all'"))
        await connection.execute(text(f"SET LOCAL app.accounts = '{shop.id}'"))
        await connection.execute(text("SET LOCAL ROLE billing_app"))
        yield connection
    await engine.dispose()


async def settle(connection: AsyncConnection, shop: Shop, looked_at: int) -> tuple[int, int]:
    """Pay what credits cover: how many uses were paid, and how many debits were tried."""
    before = await calls(connection)
    paid = await connection.scalar(_SETTLE, {"me": shop.id, "looked_at": looked_at})
    tried = (await calls(connection) - before)["credit_debit_many"]
    return int(paid or 0), tried


async def calls(connection: AsyncConnection) -> Counter[str]:
    return Counter({row.funcname: row.calls for row in await connection.execute(_CALLS)})


async def is_asked(connection: AsyncConnection, shop: Shop) -> bool:
    """True if the account's matter is to look at more."""
    asked = text("SELECT EXISTS (SELECT FROM unpaid_retries WHERE account_id = :me)")
    return bool(await connection.scalar(asked, {"me": shop.id}))


async def owing(new_shop: NewShop) -> Shop:
    """A shop with uses that only bought credits pay, and then one that any do."""
    shop = await new_shop()
    for _ in range(MANY // PART):
        done = await shop.batch(*[BOUGHT] * PART)
        assert done["recorded"] == PART, done
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


PAST: Final = text(
    """
    INSERT INTO usage_counters (
        account_id, owner, grain, period_start, bucket, meter, facet, quantity, events, maximum,
        last_value, last_at, credits, overage, overage_total)
    SELECT :me, '', 'day', date_trunc('month', day, 'UTC'), day, 'ai_responses',
        'a_service|' || method || '|completed|CREDIT', 1, 1, 1, 1, 'epoch', 1, 0, 0
    FROM generate_series(
        date_trunc('day', now(), 'UTC') - interval '3 years',
        date_trunc('day', now(), 'UTC') - interval '10 days', interval '1 day') AS day,
        unnest(ARRAY['subscription_included', 'credit_consumption', 'wallet_deduction']) AS method
    """
)
TABLES: Final = ("usage_counters", "billing_records")
_UNPAID: Final = text("SELECT unpaid FROM usage_unpaid(:me, 'infinity', false)")
_READ: Final = text(
    "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_xact_user_tables"
    " WHERE relname LIKE :table || '%'"
)


async def read(connection: AsyncConnection, table: str) -> int:
    """Rows of the table, or of its partitions, that the transaction has read."""
    return int(await connection.scalar(_READ, {"table": table}))


async def test_what_is_unpaid_is_summed_from_the_first_day_on_of_which_anything_is(
    new_shop: NewShop,
) -> None:
    shop = await owing(new_shop)
    async with counted(shop) as connection:
        await connection.execute(PAST, {"me": shop.id})
        before = {table: await read(connection, table) for table in TABLES}
        assert await connection.scalar(_UNPAID, {"me": shop.id}) == MANY / 10 + 1
        grown = {table: await read(connection, table) - before[table] for table in TABLES}
        await connection.rollback()
    assert max(grown.values()) < 100, grown


async def test_uses_are_counted_again_without_a_call_for_each(new_shop: NewShop) -> None:
    shop = await owing(new_shop)
    again = text(
        "SELECT usage_count_again(:me, array_agg(id), 1) FROM billing_records"
        " WHERE account_id = :me"
    )
    async with counted(shop) as connection:
        before = await calls(connection)
        await connection.execute(again, {"me": shop.id})
        called = await calls(connection) - before
        await connection.rollback()
    assert called["usage_count_again"] == 1
    assert called.pop("usage_first_month") <= 2  # by the months of all their ids
    assert max(called.values()) == 1, called
