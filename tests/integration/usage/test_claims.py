"""Uses claimed beforehand on live accounts: most go the short way, nothing gets past a limit."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from billing.metering.quotas import store
from tests.integration.usage.conftest import NewShop, Shop

CHAT: dict[str, Any] = {"feature_type": "chat_messages"}


async def claim(shop: Shop, amount: str = "1", event: str | None = None, **fields: Any) -> bool:
    body = {"requested_amount": amount, "consume": True, "event_id": event or f"evt-{uuid4()}"}
    answer = await shop.post("/quota/check", body | (fields or CHAT))
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["allowed"])


async def used(shop: Shop) -> int:
    ((amount,),) = await shop.rows(
        "SELECT max(used)::integer FROM billing_quotas WHERE account_id = :id"
    )
    return int(amount)


async def plain(shop: Shop) -> bool:
    """True if the next claim may take the fast path."""
    rows = await shop.rows(
        "SELECT plain_until > now() AND used < plain_below FROM billing_quotas"
        " WHERE account_id = :id"
    )
    return all(row == (True,) for row in rows)


async def test_claims_at_once_never_get_more_than_the_quota(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("20")
    assert await claim(shop)
    assert await plain(shop)
    body = {"usage_amount": "1"} | CHAT
    claims, records = await asyncio.gather(
        asyncio.gather(*(claim(shop) for _ in range(25))),
        asyncio.gather(*(shop.post("/usage/record", body) for _ in range(25))),
    )
    assert 1 + sum(claims) + sum(one.status_code == 201 for one in records) == 20
    assert await used(shop) == 20
    assert not await claim(shop)


async def test_a_claim_is_counted_once_and_settled_by_its_record(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("100")
    for event in ("a", "b", "b", "c", "b"):
        assert await claim(shop, "5", event)
    assert await used(shop) == 15
    await shop.record("5", event_id="b", **CHAT)
    await shop.record("7", event_id="d", **CHAT)
    assert await claim(shop, "7", "d")
    assert await used(shop) == 22
    async with shop.api.database.operator() as connection:
        for words in (
            "UPDATE quota_claims SET expires_at = expires_at - interval '11 minutes'",
            "UPDATE billing_quotas SET plain_until = plain_until - interval '11 minutes'",
        ):
            await connection.execute(text(f"{words} WHERE account_id = :id"), {"id": shop.id})
    assert await claim(shop, "1", "e")
    assert await used(shop) == 13


async def test_the_same_event_claimed_at_once_counts_once(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("100")
    assert await claim(shop)
    assert all(await asyncio.gather(*(claim(shop, "3", "same") for _ in range(10))))
    assert await used(shop) == 4


@pytest.mark.parametrize(("amount", "answer"), [("5", 200), ("7", 422)])
async def test_a_use_that_is_recorded_while_it_is_claimed_counts_once_and_is_compared(
    new_shop: NewShop, monkeypatch: pytest.MonkeyPatch, amount: str, answer: int
) -> None:
    shop = await new_shop()
    await shop.quota("100")
    assert await claim(shop)
    assert await plain(shop)
    claim_fast = store.claim_fast

    async def record_and_claim(*asked: Any) -> bool:
        await shop.record("5", event_id="same", **CHAT)
        return await claim_fast(*asked)

    monkeypatch.setattr(store, "claim_fast", record_and_claim)
    body = {"requested_amount": amount, "consume": True, "event_id": "same"} | CHAT
    assert (await shop.post("/quota/check", body)).status_code == answer
    assert await used(shop) == 6


async def test_the_short_way_is_for_uses_under_one_quota_alone(new_shop: NewShop) -> None:
    shop = await new_shop()
    for name in ("ann", "bob"):
        await shop.quota("10", user_id=name)
    for name in ("ann", "bob"):
        assert await claim(shop, "2", **CHAT, user_id=name)
    assert await plain(shop)
    await shop.quota("15")
    assert [await claim(shop, "5", **CHAT, user_id=name) for name in ("ann", "bob")] == [True, True]
    assert not await plain(shop)
    assert not await claim(shop, "2", **CHAT, user_id="ann"), "fifteen for both"


async def test_a_threshold_that_claims_cross_is_told_once(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10", hard=False, window="day")
    for _ in range(12):
        assert await claim(shop)
    told = await shop.rows("SELECT threshold FROM usage_alerts WHERE account_id = :id ORDER BY id")
    assert told == [(80,), (100,)]
    assert await used(shop) == 12


async def test_a_quota_set_later_counts_at_once(new_shop: NewShop) -> None:
    shop = await new_shop()
    ann = CHAT | {"user_id": "ann"}
    await shop.quota("100")
    assert await claim(shop, "5", **ann)
    await shop.quota("8", user_id="ann")
    assert await claim(shop, "3", **ann), "five of eight are claimed already"
    assert not await claim(shop, "1", **ann)
    assert await claim(shop, "1")
    await shop.quota("9")
    assert not await claim(shop, "1")
    assert await used(shop) == 9


async def test_a_plan_that_blocks_has_its_word_in_claims_too(new_shop: NewShop) -> None:
    shop = await new_shop()
    replies = {"feature_type": "ai_responses"}
    await shop.quota("1000", **replies)
    assert await claim(shop, "40", **replies)
    assert not await plain(shop)
    assert await claim(shop, "10", **replies)
    assert not await claim(shop, "1", **replies)


async def test_what_is_claimed_of_a_plan_that_blocks_is_used_and_not_remaining(
    new_shop: NewShop,
) -> None:
    shop = await new_shop()
    assert await claim(shop, "45", "e-1", feature_type="ai_responses")
    for quantity in ("0", "45.00"):
        (limit,) = (one for one in await shop.limits() if one["meter"] == "ai_responses")
        assert (limit["used"], limit["remaining"]) == ("45.00", "5.00")
        meter = (await shop.get("/usage/current"))["meters"]["ai_responses"]
        assert (meter["quantity"], meter["remaining"]) == (quantity, "5.00")
        await shop.record("45", feature_type="ai_responses", event_id="e-1")
