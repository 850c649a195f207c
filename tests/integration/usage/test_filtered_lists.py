"""Lists of uses by words that no index knows: counters tell the days, and accounts take turns."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from api import account_turns
from billing.core.clock import real_now
from billing.metering.usage import logs, store
from tests.integration.usage.conftest import V1, NewShop, Shop

USES = [(0, "draw", "m-1"), (1, "read", "m-2"), (9, "draw", "m-2"), (10, "read", "m-1"),
        (30, "draw", "m-1"), (31, "read", "m-1")]  # fmt: skip
"""Days ago, operation, model."""


async def used(new_shop: NewShop) -> Shop:
    shop = await new_shop("100")
    await shop.opened_before(timedelta(days=40))
    for ago, operation, model in USES:
        at = (real_now() - timedelta(days=ago)).isoformat()
        await shop.record("1", occurred_at=at, operation=operation, model=model)
    return shop


async def listed(shop: Shop, **words: str) -> list[tuple[int, str, str]]:
    """All rows of the list, page by page."""
    found: list[tuple[int, str, str]] = []
    asked: dict[str, Any] = {"limit": 1} | words
    while True:
        page = await shop.get("/usage/logs", **asked)
        for row in page["data"]:
            ago = (real_now() - datetime.fromisoformat(row["occurred_at"])).days
            found.append((ago, row["operation"], row["model"]))
        if not page["pagination"]["has_more"]:
            assert page["pagination"]["total"] == len(found)
            return found
        asked["cursor"] = page["pagination"]["next_cursor"]


@pytest.mark.parametrize("most_spans", [1, store.MOST_SPANS])
async def test_each_word_and_all_together_find_their_uses(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch, most_spans: int
) -> None:
    monkeypatch.setattr(store, "MOST_SPANS", most_spans)
    shop = await used(new_shop)
    assert await listed(shop, operation="draw") == [use for use in USES if use[1] == "draw"]
    assert await listed(shop, model="m-1") == [use for use in USES if use[2] == "m-1"]
    both = [use for use in USES if use[1:] == ("draw", "m-1")]
    assert await listed(shop, operation="draw", model="m-1") == both
    assert await listed(shop, service_type="model_inference") == USES
    assert await listed(shop, service_type="storage") == []
    assert await listed(shop, operation="none") == []


async def test_only_days_with_such_uses_are_read(new_shop: NewShop) -> None:
    shop = await used(new_shop)
    async with shop.api.database.tenant(shop.id) as connection:
        query = await logs.uses(connection, shop.id, (None, None), operation="read")
        bounds = [value for value in query.compile().params.values() if hasattr(value, "year")]
        assert len(bounds) == 6, "three spans: yesterday, ten days ago and a month ago"
        lately = (real_now() - timedelta(days=15), None)
        query = await logs.uses(connection, shop.id, lately, operation="read")
        bounds = [value for value in query.compile().params.values() if hasattr(value, "year")]
        assert len(bounds) == 5, "two spans, and the first instant that is asked for"
        nothing = await logs.uses(connection, shop.id, (None, None), operation="none")
        assert "false" in str(nothing.whereclause)


async def test_an_account_s_filtered_lists_take_turns(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy, other, go = await new_shop("100"), await new_shop("100"), asyncio.Event()
    real, begun = logs.uses, list[Any]()

    async def slow(connection: Any, account_id: Any, *rest: Any, **wanted: Any) -> Any:
        begun.append(account_id)
        if account_id == greedy.id:
            await go.wait()
        return await real(connection, account_id, *rest, **wanted)

    async def asked(shop: Shop, query: str = "?model=m-1") -> int:
        answer = await shop.api.client.get(f"{V1}/usage/logs{query}", headers=shop.headers())
        return answer.status_code

    monkeypatch.setattr(logs, "uses", slow)
    async with asyncio.timeout(10):
        many = [asyncio.create_task(asked(greedy)) for _ in range(account_turns.OF_ONE + 2)]
        over, _ = await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
        assert {one.result() for one in over} == {429}
        assert await asked(other) == 200
        assert begun == [greedy.id, other.id]
        go.set()
        assert sorted([await one for one in many]) == [200] * account_turns.OF_ONE + [429] * 2


@pytest.mark.parametrize(
    "words",
    [
        {"service_type": "notification", "user_id": "ann"},
        {"service_type": "notification", "grain": "hour"},
        {"grain": "hour", "organization_id": "o-1"},
    ],
)
async def test_sums_that_only_records_tell_wait_for_the_account_s_turn(
    new_shop: NewShop, words: dict[str, str]
) -> None:
    shop = await new_shop()
    async with asyncio.timeout(10):
        async with shop.api.app.state.services.filter_turns.one(shop.id):
            asked = asyncio.create_task(shop.get("/usage/aggregations", **words))
            for counted in ({"grain": "hour"}, {"user_id": "ann"}, {"service_type": "storage"}):
                await shop.get("/usage/aggregations", **counted)
            assert not asked.done()
        assert (await asked)["data"] == []
