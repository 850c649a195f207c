"""An event for each use, where an operator wants it (docs/rules/usage.md)."""

from typing import Any

from api.batching.usage_batcher import UsageBatcher
from billing.core.database import open_database
from billing.metering.usage.schemas import Use, UseKind
from tests.integration.api_app import stack_settings
from tests.integration.usage.conftest import NewShop, Shop

TOKENS = UseKind("gpt-4", None, None, None, None, None, False)


async def told(shop: Shop) -> list[Any]:
    return await shop.rows(
        "SELECT data FROM events WHERE account_id = :id"
        " AND type = 'evt.billing.usage.recorded' ORDER BY seq"
    )


async def test_each_use_is_an_event_where_that_is_wished_for(new_shop: NewShop) -> None:
    shop, other = await new_shop("10"), await new_shop("10")
    settings = stack_settings(shop.api.stack).model_copy(update={"publish_usage": True})
    async with open_database(settings) as database:
        batcher = UsageBatcher(database)
        done = await batcher.one(Use(shop.id, TOKENS, "1000", "first", user_id="ann"))
        uses = [Use(shop.id, TOKENS, "1"), Use(other.id, TOKENS, "2"), Use(shop.id, TOKENS, "3")]
        assert await batcher.many(uses) == {}
        assert (await batcher.one(Use(shop.id, TOKENS, "1000", "first", user_id="ann"))).id == (
            done.id
        )
    assert [data["usage_amount"] for (data,) in await told(shop)] == ["1000.00", "1.00", "3.00"]
    first = (await told(shop))[0][0]
    assert (first["event_id"], first["user_id"], first["total_amount"], first["meter"]) == (
        "first", "ann", "2.00", "model_inference",
    )  # fmt: skip
    assert len(await told(other)) == 1
    gaps = await shop.rows(
        "SELECT max(seq) - min(seq) + 1 - count(*) FROM events WHERE account_id = :id"
    )
    assert gaps == [(0,)]


async def test_else_only_what_crosses_a_line_is_an_event(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await shop.record("1000")
    assert await told(shop) == []
