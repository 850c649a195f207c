"""A use counts in the windows of its own time, and what a rolling window forgets is free again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from tests.integration.api_app import ACCOUNTS
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import CHAT, NOW, move_clock
from tests.integration.usage.test_claims import claim
from tests.integration.usage.test_voids import void

UPLOADS: dict[str, Any] = {"feature_type": "document_uploads"}
TESTS: dict[str, Any] = {"feature_type": "assessments"}


async def frozen(new_shop: NewShop, clock: datetime = NOW) -> Shop:
    return await new_shop(is_test=True, clock_at=clock.isoformat())


async def standing(shop: Shop) -> list[str]:
    """The use counted on the account's quotas."""
    return [one["used"] for one in await shop.limits() if one["source"] == "quota"]


async def use(shop: Shop, amount: str, at: datetime | None = None, **more: Any) -> httpx2.Response:
    body = {"usage_amount": amount} | CHAT | more
    return await shop.post("/usage/record", body | ({"occurred_at": at.isoformat()} if at else {}))


async def test_a_late_use_counts_on_its_own_day(new_shop: NewShop) -> None:
    """Within the open month and before it: each day gives what it has, and today's is untouched."""
    shop = await frozen(new_shop)
    await shop.quota("10", window="day")
    for days in (20, 9, 1, 0):
        at = NOW - timedelta(days=days)
        assert (await use(shop, "9", at)).status_code == 201, days
        full = await use(shop, "2", at)
        assert full.json()["code"] == "QUOTA_EXCEEDED", days
        assert "Retry-After" not in full.headers, "no time makes room on a day that is over"
        assert (await use(shop, "1", at)).status_code == 201, days
    assert (await use(shop, "1")).status_code == 429
    assert await standing(shop) == ["10.00"]


async def test_late_uses_of_one_batch_fill_their_days_one_by_one(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", window="day")
    await shop.quota("4", window="day", user_id="ann")
    uses = [("6", 3, "bob"), ("5", 3, "bob"), ("6", 2, "bob"), ("3", 2, "ann"), ("4", 3, "ann")]
    rows = [
        CHAT
        | {"usage_amount": amount, "user_id": who}
        | {"occurred_at": (NOW - timedelta(days=days)).isoformat()}
        for amount, days, who in uses
    ]
    done = await shop.batch(*rows)
    assert [row["status"] for row in done["results"]] == [
        "recorded", "rejected", "recorded", "recorded", "recorded",
    ]  # fmt: skip
    assert (await use(shop, "1", NOW - timedelta(days=2), user_id="ann")).status_code == 201
    assert (await use(shop, "1", NOW - timedelta(days=3), user_id="ann")).status_code == 429


async def test_a_day_whose_midnight_is_skipped_ends_at_the_next_one(new_shop: NewShop) -> None:
    """In Chile 6 September 2026 begins at one o'clock."""
    ended = datetime(2026, 9, 7, 3, tzinfo=UTC)
    shop = await new_shop(
        is_test=True, zone="America/Santiago", clock_at=(ended - timedelta(hours=1)).isoformat()
    )
    await shop.quota("10", window="day")
    assert (await use(shop, "1")).status_code == 201
    full = await use(shop, "10")
    assert (full.json()["code"], full.headers["Retry-After"]) == ("QUOTA_EXCEEDED", "3600")
    await move_clock(shop, hours=1)
    assert (await use(shop, "8")).status_code == 201
    assert (await use(shop, "9", ended - timedelta(hours=2))).status_code == 201
    assert await standing(shop) == ["8.00"]


async def test_a_changed_zone_leaves_the_days_of_the_month_as_they_are(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", window="day")
    assert (await use(shop, "10", NOW - timedelta(hours=10))).status_code == 201
    moved = {"external_id": shop.account["external_id"], "zone": "America/Los_Angeles"}
    answer = await shop.api.client.post(ACCOUNTS, json=moved, headers=shop.api.admin())
    assert answer.json()["zone"] == "America/Los_Angeles"
    assert not await claim(shop, "1"), "there the day began at 08:00Z"
    await move_clock(shop, days=30)
    assert (await use(shop, "10")).status_code == 201
    retry = (await use(shop, "1")).headers["Retry-After"]
    assert retry == "72000", "until 08:00Z"


async def test_a_late_use_counts_in_its_own_month_and_cycle(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.record("1", **CHAT)
    await shop.quota("10", window="month")
    await shop.quota("10", window="cycle", **TESTS)
    before = NOW - timedelta(days=20)
    for fields in (CHAT, TESTS):
        assert (await use(shop, "10", before, **fields)).status_code == 201
        assert (await use(shop, "1", before, **fields)).status_code == 429
        assert (await use(shop, "9", **fields)).status_code == 201


async def test_a_late_use_meets_its_own_cycles_plan(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    month = {"start": datetime(2026, 12, 1, tzinfo=NOW.tzinfo)}
    await shop.subscribe("free", **month, end=NOW.replace(day=1, hour=0))
    await shop.record("5", **UPLOADS)
    late = NOW - timedelta(days=9, hours=13)
    assert (await use(shop, "5", late, **UPLOADS)).status_code == 201
    assert (await use(shop, "1", late, **UPLOADS)).json()["code"] == "QUOTA_EXCEEDED"


async def test_a_use_reported_ahead_of_midnight_counts_on_its_own_day(new_shop: NewShop) -> None:
    shop = await frozen(new_shop, NOW.replace(hour=23, minute=58))
    await shop.quota("10", window="day")
    assert (await use(shop, "10", NOW.replace(hour=23, minute=59))).status_code == 201
    tomorrow = NOW.replace(day=NOW.day + 1, hour=0, minute=1)
    assert (await use(shop, "8", tomorrow)).status_code == 201
    await move_clock(shop, minutes=5)
    assert (await use(shop, "3")).status_code == 429
    assert (await use(shop, "2")).status_code == 201


async def test_a_rolling_window_frees_each_use_in_time(new_shop: NewShop) -> None:
    """Free no later than span + span/60 after it was made; Retry-After says so to the second."""
    shop = await frozen(new_shop)
    await shop.quota("100", window="rolling", span_seconds=3600)
    for minutes, amount in ((0, "60"), (10, "40")):
        await move_clock(shop, minutes=minutes)
        await shop.record(amount, **CHAT)
    refused = await use(shop, "1")
    wait = int(refused.headers["Retry-After"])
    assert 50 * 60 <= wait <= 51 * 60
    await move_clock(shop, seconds=wait - 1)
    assert (await use(shop, "1")).status_code == 429
    await move_clock(shop, seconds=1)
    later = await use(shop, "61")
    assert 10 * 60 - 61 <= int(later.headers["Retry-After"]) <= 10 * 60
    assert (await use(shop, "60")).status_code == 201
    assert (await use(shop, "101")).headers.get("Retry-After") is None, "never"


async def test_retry_after_of_a_day_is_its_end_or_the_expiry_of_a_claim(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", window="day")
    await shop.record("6", **CHAT)
    assert await claim(shop, "4", "job")
    await move_clock(shop, minutes=1)
    waits = [int((await use(shop, n)).headers["Retry-After"]) for n in ("4", "5")]
    assert waits == [9 * 60, 12 * 3600 - 60]
    await move_clock(shop, minutes=8)
    assert (await use(shop, "4")).status_code == 429
    await move_clock(shop, minutes=1)
    assert (await use(shop, "4")).status_code == 201


async def test_late_uses_pass_no_rolling_limit_in_whatever_order_they_come(
    new_shop: NewShop,
) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", window="rolling", span_seconds=3600)
    noon = NOW - timedelta(days=3)
    for minutes, status in ((0, 201), (-5, 429), (5, 429), (-59, 429), (59, 429), (130, 201)):
        at = noon + timedelta(minutes=minutes)
        assert (await use(shop, "6", at)).status_code == status, minutes
    assert (await use(shop, "10")).status_code == 201
    rows = [
        CHAT | {"usage_amount": "4", "occurred_at": (noon - timedelta(hours=n)).isoformat()}
        for n in (5.2, 5.1, 5, 8)
    ]
    done = await shop.batch(*rows)
    assert [row["status"] for row in done["results"]] == [
        "recorded", "recorded", "rejected", "recorded",
    ]  # fmt: skip


async def test_a_claim_that_expired_is_gone_from_every_answer(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", window="day")
    await shop.quota("10", window="rolling", span_seconds=3600)
    assert await claim(shop, "8", "gone")
    await move_clock(shop, minutes=10)
    asked = (await shop.post("/quota/check", CHAT | {"requested_amount": "10"})).json()
    assert (asked["allowed"], asked["used"]) == (True, "0")
    assert await standing(shop) == ["0", "0"]
    assert await claim(shop, "10", "next")


async def test_a_use_from_before_a_rolling_quota_takes_nothing_of_it_along(
    new_shop: NewShop,
) -> None:
    shop = await frozen(new_shop)
    before = await shop.record("1000", **CHAT)
    await move_clock(shop, seconds=1)
    await shop.quota("10", window="rolling", span_seconds=3600)
    await shop.record("8", **CHAT)
    await void(shop, before)
    assert await standing(shop) == ["8.00"]
    assert (await use(shop, "3")).status_code == 429
    assert not await claim(shop, "3", "too-much")
    counted = await shop.record("2", **CHAT)
    await void(shop, counted)
    assert (await use(shop, "2")).status_code == 201
    assert (await use(shop, "1")).status_code == 429


async def test_another_span_keeps_what_was_used_and_claimed(new_shop: NewShop) -> None:
    shop = await frozen(new_shop)
    await shop.quota("10", window="rolling", span_seconds=3600)
    wrong = await shop.record("6", **CHAT)
    assert await claim(shop, "3", "job")
    await move_clock(shop, minutes=5)
    await shop.quota("10", window="rolling", span_seconds=86400)
    assert await standing(shop) == ["9.00"]
    await void(shop, wrong)
    assert await standing(shop) == ["3.00"]
    await shop.record("3", event_id="job", **CHAT)
    assert await standing(shop) == ["3.00"]
    await shop.quota("10", window="rolling", span_seconds=3600)
    assert await standing(shop) == ["3.00"]
    await move_clock(shop, hours=1, minutes=24)
    assert await standing(shop) == ["0"]
    assert (await use(shop, "10")).status_code == 201


async def test_the_audit_trail_tells_all_that_a_quota_was_set_to(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10", window="rolling", span_seconds=3600)
    last = await shop.quota("10", window="rolling", span_seconds=86400, hard=False)
    await shop.api.client.delete(f"{V1}/admin/quotas/{last['quota_id']}", headers=shop.api.admin())
    assert await shop.rows(
        "SELECT action, detail ->> 'window', detail ->> 'span_seconds', detail ->> 'hard'"
        " FROM billing_audit WHERE account_id = :id AND action LIKE 'quota.%' ORDER BY id"
    ) == [
        ("quota.set", "rolling", "3600", "true"),
        ("quota.set", "rolling", "86400", "false"),
        ("quota.removed", "rolling", "86400", "false"),
    ]
