"""A claim covers the quotas it was counted on, in the window it was counted in."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.catalog.subscribing import START
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import NOW, move_clock
from tests.integration.usage.test_claims import CHAT, claim

ASSESSED: dict[str, Any] = {"feature_type": "assessments"}
ANN, BOB = CHAT | {"user_id": "ann"}, CHAT | {"user_id": "bob"}


async def frozen(new_shop: NewShop, clock: datetime = NOW) -> Shop:
    return await new_shop(is_test=True, clock_at=clock.isoformat())


async def used(shop: Shop) -> dict[str, int]:
    """Counted use by owner (`''` the account) and, but for chat messages, meter."""
    rows = await shop.rows(
        "SELECT owner || CASE meter WHEN 'chat_messages' THEN '' ELSE meter END, used::integer"
        " FROM billing_quotas WHERE account_id = :id"
    )
    return dict(rows)


async def test_a_claim_of_nobody_covers_no_quota_of_a_user(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("100")
    await shop.quota("5", user_id="ann")
    assert await claim(shop, "10", "job")
    await shop.record("10", status=429, event_id="job", **ANN)
    assert await used(shop) == {"": 10, "u:ann": 0}
    await shop.record("4", event_id="job", **ANN)
    assert await used(shop) == {"": 4, "u:ann": 4}
    await shop.record("2", status=429, **ANN)


async def test_a_claim_on_one_meter_covers_nothing_on_another(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10")
    await shop.record("9", **CHAT)
    assert await claim(shop, "1000000", "jobs", **ASSESSED)
    await shop.record("2", status=429, event_id="jobs", **CHAT)
    await shop.record("1", event_id="jobs", **CHAT)
    assert await used(shop) == {"": 10}
    await shop.record("1", status=429, **CHAT)


async def test_what_a_claim_counted_is_given_back_where_it_was_counted(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("100")
    await shop.quota("100", feature_type="assessments")
    for name in ("ann", "bob"):
        await shop.quota("10", user_id=name)
    assert await claim(shop, "6", "a", **ANN)
    assert await claim(shop, "7", "b", **ASSESSED)
    await shop.batch(
        BOB | {"usage_amount": "8", "event_id": "a"}, CHAT | {"usage_amount": "1", "event_id": "b"}
    )
    assert await used(shop) == {"": 9, "assessments": 0, "u:ann": 0, "u:bob": 8}


async def test_a_use_that_a_hold_pays_settles_its_claim_as_any_other(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    gpt: dict[str, Any] = {"service_type": "model_inference"}
    for fields in ({}, {"user_id": "ann"}):
        await shop.quota("700", **gpt, **fields)
    assert await claim(shop, "500", "job", **gpt)
    held = await shop.post("/billing/credits/holds", {"amount": "2"}, **{"Idempotency-Key": "h"})
    use = {"hold_id": held.json()["hold_id"], "user_id": "ann", "event_id": "job"}
    await shop.record("800", status=429, **use)
    await shop.record("600", **use)
    assert await used(shop) == {"model_inference": 600, "u:annmodel_inference": 600}


async def test_a_late_use_counts_on_no_quota_and_gives_its_claim_back(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.subscribe("free")
    await shop.quota("100", **ASSESSED)
    assert await claim(shop, "4", "late", **ASSESSED)
    before = (NOW - timedelta(days=20)).isoformat()
    await shop.record("4", event_id="late", occurred_at=before, **ASSESSED)
    assert await used(shop) == {"assessments": 0}


async def test_a_claim_covers_nothing_of_the_next_day(new_shop: NewShop) -> None:
    shop = await frozen(new_shop, NOW.replace(hour=23, minute=59))
    await shop.quota("100", window="day")
    for event in ("a", "b"):
        assert await claim(shop, "50", event)
    await move_clock(shop, minutes=2)
    await shop.record("60", **CHAT)
    await shop.record("1", event_id="a", **CHAT)
    assert await used(shop) == {"": 61}
    assert await claim(shop, "50", "b"), "answered as at first, and not counted again"
    await shop.record("50", status=429, event_id="b", **CHAT)
    await shop.record("39", event_id="b", **CHAT)
    assert await used(shop) == {"": 100}


async def test_a_claim_that_meets_a_newer_window_is_counted_in_it_as_its_own(
    new_shop: NewShop,
) -> None:
    shop = await new_shop()
    await shop.quota("100", window="day")
    assert await claim(shop, "1")
    # As if the day had turned while the claim waited for the quota's row.
    async with shop.api.database.operator() as connection:
        await connection.execute(
            text(
                "UPDATE billing_quotas SET window_start = now() + interval '1 minute',"
                " plain_until = now() + interval '1 hour' WHERE account_id = :id"
            ),
            {"id": shop.id},
        )
    assert await claim(shop, "5", "late")
    await shop.record("3", event_id="late", **CHAT)
    assert await used(shop) == {"": 4}


async def rolling(shop: Shop) -> list[int]:
    """Used in each slice of the account's rolling quota."""
    rows = await shop.rows(
        "SELECT used::integer FROM quota_slices WHERE account_id = :id AND used <> 0"
        " ORDER BY ends_at"
    )
    return [used for (used,) in rows]


async def test_a_rolling_quota_counts_a_use_at_its_time_and_its_claim_no_more(
    new_shop: NewShop,
) -> None:
    shop = await frozen(new_shop, NOW.replace(minute=59))
    await shop.quota("10", window="rolling", span_seconds=3600)
    for event, amount in (("less", "2"), ("same", "2"), ("more", "1"), ("none", "5")):
        assert await claim(shop, amount, event)
    await move_clock(shop, minutes=2)
    await shop.record("0.1", status=429, **CHAT)
    await shop.record("2", event_id="same", **CHAT)
    assert await rolling(shop) == [8, 2]
    await shop.record("1", event_id="less", **CHAT)
    assert await rolling(shop) == [6, 3]
    await shop.record("2", event_id="more", **CHAT)
    assert await rolling(shop) == [5, 5]
    await move_clock(shop, minutes=9)
    await shop.record("1", **CHAT)
    assert await rolling(shop) == [5, 1], "nobody recorded the last claim"


async def test_a_claim_that_a_rolling_quota_has_forgotten_covers_nothing(
    new_shop: NewShop,
) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", window="rolling", span_seconds=60)
    assert await claim(shop, "8", "old")
    await move_clock(shop, minutes=3)
    await shop.record("5", **CHAT)
    await shop.record("6", status=429, event_id="old", **CHAT)
    await shop.record("5", event_id="old", **CHAT)
    assert await rolling(shop) == [10]


async def test_a_new_rolling_quota_knows_the_claims_in_sight(new_shop: NewShop) -> None:
    shop = await frozen(new_shop, NOW.replace(minute=59))
    assert await claim(shop, "8", "a")
    await move_clock(shop, minutes=2)
    assert await claim(shop, "1", "b")
    await shop.quota("10", window="rolling", span_seconds=3600)
    assert await rolling(shop) == [8, 1]
    await shop.record("8", event_id="a", **CHAT)
    assert await rolling(shop) == [9]


async def test_a_claim_that_was_recorded_before_its_quota_counts_once(new_shop: NewShop) -> None:
    shop = await new_shop()
    for event in ("recorded", "open"):
        assert await claim(shop, "4", event)
    await shop.record("3", event_id="recorded", **CHAT)
    await shop.quota("10")
    assert await used(shop) == {"": 7}
    await shop.record("4", event_id="open", **CHAT)
    assert await used(shop) == {"": 7}


async def test_a_claim_in_a_cycle_that_a_faster_clock_began_is_given_back(
    new_shop: NewShop,
) -> None:
    shop = await frozen(new_shop, START - timedelta(seconds=2))
    await shop.subscribe("basic")
    await shop.quota("10", window="cycle")
    for event in ("recorded", "forgotten"):
        assert await claim(shop, "5", event)
    await shop.record("3", event_id="recorded", **CHAT)
    assert await used(shop) == {"": 8}
    await move_clock(shop, minutes=11)
    await shop.record("1", **CHAT)
    assert await used(shop) == {"": 4}


async def test_what_adds_nothing_is_not_refused_by_a_quota_that_was_lowered(
    new_shop: NewShop,
) -> None:
    shop = await new_shop()
    await shop.quota("10")
    await shop.record("5", **CHAT)
    for event in ("same", "less", "more"):
        assert await claim(shop, "1", event)
    await shop.quota("4")
    await shop.record("2", status=429, event_id="more", **CHAT)
    rows = [{"usage_amount": n, "event_id": e} for n, e in (("1", "same"), ("0.5", "less"))]
    mixed = await shop.batch(CHAT | {"usage_amount": "0.5"}, *(CHAT | row for row in rows))
    assert [row["status"] for row in mixed["results"]] == ["rejected", "recorded", "recorded"]


async def test_a_new_quota_of_a_cycle_starts_with_this_cycle_s_use_alone(
    new_shop: NewShop,
) -> None:
    morning = datetime(2027, 1, 10, 9, tzinfo=UTC)
    shop = await frozen(new_shop, morning)
    await shop.record("4", **CHAT)
    await move_clock(shop, hours=3)
    noon = morning + timedelta(hours=3)
    await shop.subscribe("basic", start=noon, end=noon + timedelta(days=31))
    await shop.record("3", **CHAT)
    for window, counted in (("cycle", "3.00"), ("day", "7.00"), ("month", "7.00")):
        quota = await shop.quota("100", window=window)
        assert (window, quota["used"]) == (window, counted)


async def test_an_expired_claim_is_given_back_beside_a_claim_that_counts(new_shop: NewShop) -> None:
    """On the quota of another meter, whose row a claim of the fast path holds meanwhile."""
    shop = await new_shop()
    await shop.quota("100")
    await shop.quota("100", **ASSESSED)
    for number in range(2):
        assert await claim(shop, "5", f"old-{number}", **ASSESSED)
    operator = shop.api.database.operator
    async with operator() as connection:
        past = text(
            "UPDATE quota_claims SET expires_at = now() - interval '1 second'"
            " WHERE account_id = :id"
        )
        await connection.execute(past, {"id": shop.id})
    async with operator() as counting:
        more = text(
            "UPDATE billing_quotas SET used = used + 7 WHERE account_id = :id"
            " AND meter = 'assessments'"
        )
        await counting.execute(more, {"id": shop.id})
        use = asyncio.create_task(shop.record("1", **CHAT))
        await asyncio.sleep(0.5)
        assert not use.done(), "it waits for the row that it gives back on"
    await use
    assert await used(shop) == {"": 1, "assessments": 7}


async def test_a_claim_lasts_ten_minutes_where_midnight_comes_twice(new_shop: NewShop) -> None:
    """On the Azores the 25 October 2026 begins at 00:00Z and, once more, at 01:00Z."""
    shop = await new_shop(
        is_test=True, zone="Atlantic/Azores", clock_at="2026-10-25T00:05:00+00:00"
    )
    replies: dict[str, Any] = {"feature_type": "ai_responses"}
    await shop.quota("10", window="day")
    await shop.quota("1000", window="day", **replies)
    assert await claim(shop, "10", **CHAT)
    assert await claim(shop, "40", **replies)
    assert not await claim(shop, "1", **CHAT)
    assert not await claim(shop, "11", **replies), "its plan includes 50 and blocks"
    await move_clock(shop, minutes=11)
    assert await claim(shop, "10", **CHAT)
    assert await claim(shop, "50", **replies)
    assert not await claim(shop, "1", **CHAT)
    await move_clock(shop, minutes=60)
    assert await claim(shop, "4", "settled", **CHAT)
    await shop.record("4", event_id="settled", **CHAT)
    assert await claim(shop, "6", **CHAT)
    assert not await claim(shop, "1", **CHAT), "both hours are one day"


async def refused_as_reused(shop: Shop, amount: str, event: str, **fields: Any) -> None:
    """Claim another use under an event that is known."""
    body = {"requested_amount": amount, "consume": True, "event_id": event} | (fields or CHAT)
    answer = await shop.post("/quota/check", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize("is_recorded", [False, True])
async def test_another_claim_under_the_same_event_is_refused(
    new_shop: NewShop, is_recorded: bool
) -> None:
    shop = await new_shop()
    await shop.quota("10")
    await shop.quota("0", **ASSESSED)
    assert await claim(shop, "1", "e", **ANN)
    if is_recorded:
        await shop.record("1", event_id="e", **ANN)
    for amount, fields in (
        ("1000000", ANN), ("0.5", ANN), ("1", ANN | ASSESSED), ("1", BOB), ("1", CHAT),
        ("1", ANN | {"organization_id": "us"}), ("1", ANN | {"feature_type": "ai_responses"}),
    ):  # fmt: skip
        await refused_as_reused(shop, amount, "e", **fields)
    assert await claim(shop, "1.000", "e", **ANN), "the same again"
    assert await used(shop) == {"": 1, "assessments": 0}


async def test_a_claim_of_a_use_that_nobody_claimed_must_be_as_it_was_recorded(
    new_shop: NewShop,
) -> None:
    shop = await new_shop()
    await shop.quota("10")
    await shop.record("7", event_id="d", **CHAT)
    await refused_as_reused(shop, "8", "d")
    assert await claim(shop, "7", "d")
    assert await used(shop) == {"": 7}


async def test_a_use_recorded_otherwise_than_claimed_is_claimed_again_as_either(
    new_shop: NewShop,
) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10")
    for event in ("soon", "late"):
        assert await claim(shop, "4", event)
    await shop.record("3", event_id="soon", **CHAT)
    await move_clock(shop, minutes=11)
    await shop.record("3", event_id="late", **CHAT)
    for event in ("soon", "late"):
        assert [await claim(shop, amount, event) for amount in ("4", "3")] == [True, True]
        await refused_as_reused(shop, "5", event)
    assert await used(shop) == {"": 6}


async def test_an_event_whose_claim_is_over_is_free_for_another(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10")
    assert await claim(shop, "4", "e")
    await move_clock(shop, minutes=10)
    assert not await claim(shop, "11", "e")
    assert await claim(shop, "9", "e", **ANN)
    assert await used(shop) == {"": 9}
    await refused_as_reused(shop, "4", "e")


@pytest.mark.parametrize("windows", [["month"], ["month", "day"]])
async def test_claims_of_two_uses_under_one_event_at_once_count_one(
    new_shop: NewShop, windows: list[str]
) -> None:
    """By the fast path, which only a single quota allows, and without it."""
    shop = await new_shop()
    for window in windows:
        await shop.quota("1000", window=window)
    assert await claim(shop, "1", "before")

    async def tried(amount: int) -> int:
        body = {"requested_amount": str(amount), "consume": True, "event_id": "e"} | CHAT
        return (await shop.post("/quota/check", body)).status_code

    answers = await asyncio.gather(*(tried(1 + number % 2) for number in range(10)))
    assert sorted(answers) == [200] * 5 + [422] * 5
    assert await used(shop) in ({"": 2}, {"": 3})


async def test_a_level_is_claimed_again_by_the_rise_that_was_claimed(new_shop: NewShop) -> None:
    shop = await frozen(new_shop, START + timedelta(days=1))
    await shop.subscribe("basic")
    stored: dict[str, Any] = {"service_type": "storage_minio"}
    await shop.quota("100", **stored)
    await shop.record("8", **stored)
    assert await claim(shop, "9", "e", **stored)
    await refused_as_reused(shop, "10", "e", **stored)
    await shop.record("8.5", **stored)
    assert await claim(shop, "9", "e", **stored), "less of a rise than was claimed"
    await shop.record("9", event_id="e", **stored)
    await refused_as_reused(shop, "10", "e", **stored)
    assert await claim(shop, "9", "e", **stored)


async def test_a_level_is_claimed_again_after_its_cycle_has_turned(new_shop: NewShop) -> None:
    shop = await frozen(new_shop, datetime(2027, 1, 31, 23, 58, tzinfo=UTC))
    stored: dict[str, Any] = {"service_type": "storage_minio"}
    await shop.record("0.2", **stored)
    assert await claim(shop, "0.5", "e", **stored)
    await move_clock(shop, minutes=4)
    assert await claim(shop, "0.5", "e", **stored), "the first answer, though it rises by more now"
    await refused_as_reused(shop, "0.6", "e", **stored)
