"""Plan limits and quotas: what is included, what is beyond, who is told, and who is refused."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

from billing.catalog.plans import store as plans
from tests.integration.catalog.subscribing import change
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import CHAT, NOW, move_clock, on_plan


async def alerts(shop: Shop) -> list[tuple[Any, ...]]:
    return await shop.rows(
        "SELECT meter, threshold, used_amount::integer FROM usage_alerts"
        " WHERE account_id = :id ORDER BY id"
    )


async def test_a_plan_that_blocks_gives_what_it_includes_and_no_more(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    done = await shop.record("49", feature_type="ai_responses")
    assert (done["billing_method"], done["is_included_in_subscription"]) == (
        "subscription_included", True,
    )  # fmt: skip
    refused = await shop.record("2", status=429, feature_type="ai_responses")
    assert (refused["code"], refused["detail"]) == (
        "QUOTA_EXCEEDED", "Quota exceeded for service type",
    )  # fmt: skip
    assert (refused["limit"], refused["used"]) == ("50.00", "49.00")
    await shop.record("1", feature_type="ai_responses")
    rows = [{"usage_amount": n, "feature_type": "document_uploads"} for n in ("3", "4", "2", "1")]
    mixed = await shop.batch(*rows)
    assert [row["status"] for row in mixed["results"]] == [
        "recorded", "rejected", "recorded", "rejected",
    ]  # fmt: skip
    assert await alerts(shop) == [
        ("ai_responses", 80, 49), ("ai_responses", 100, 50), ("document_uploads", 80, 5),
        ("document_uploads", 100, 5),
    ]  # fmt: skip


async def test_overage_waits_for_the_invoice_at_the_plan_s_price(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    done = await shop.record("510", feature_type="ai_responses")
    assert (done["billing_status"], done["total_cost"], done["currency"]) == (
        "pending", "0.20", "USD",
    )  # fmt: skip
    usage = await shop.get("/usage/current")
    meter = usage["meters"]["ai_responses"]
    assert (meter["included"], meter["quantity"], meter["overage"]) == (
        "500.00", "510.00", "10.00",
    )  # fmt: skip
    assert usage["overages"] == {
        "total_overage_cost": "0.20", "currency": "USD", "by_meter": {"ai_responses": "0.20"},
    }  # fmt: skip
    assert usage["plan"] == "basic"
    refused = await shop.post("/billing/process", {"billing_id": done["billing_id"]})
    assert refused.json()["code"] == "BILLED_ON_INVOICE"


async def test_a_new_cycle_begins_with_nothing_used(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    await shop.record("50", feature_type="ai_responses")
    await move_clock(shop, days=25)
    await shop.record("50", feature_type="ai_responses")
    await shop.record("1", status=429, feature_type="ai_responses")
    usage = await shop.get("/usage/current")
    assert (usage["period_start"], usage["period_end"]) == (
        "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z",
    )  # fmt: skip


async def test_limits_follow_the_subscription_in_its_own_transaction(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    await shop.record("50", feature_type="ai_responses")
    async with shop.api.database.operator() as connection:
        basic = await plans.find_plan(connection, "basic")
        assert basic is not None
        await change(connection, shop.id, plan_id=basic.id, updated_at=NOW)
    await shop.record("1", feature_type="ai_responses")
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, status="canceled", ended_at=NOW, updated_at=NOW)
    limits = {one["meter"]: one for one in await shop.limits()}
    assert (limits["ai_responses"]["limit"], limits["ai_responses"]["used"]) == ("50.00", "50.00")
    assert (await shop.get("/usage/current"))["plan"] == "free", "the default plan"


async def test_the_tighter_of_two_quotas_decides(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10")
    await shop.quota("3", user_id="ann")
    await shop.quota("5", organization_id="team")
    ann = CHAT | {"user_id": "ann", "organization_id": "team"}
    body = {"requested_amount": "4"} | ann
    check = (await shop.post("/quota/check", body)).json()
    assert (check["allowed"], check["limit"], check["remaining"]) == (False, "3.00", "3.00")
    assert check["reason"] == "Quota exceeded for service type"
    await shop.record("4", status=429, **ann)
    await shop.record("3", **ann)
    await shop.record("3", status=429, organization_id="team", **CHAT)
    await shop.record("7", **CHAT)
    await shop.record("1", status=429, **CHAT)
    limits = {(row["owner"], row["owner_id"]): row for row in await shop.limits()}
    assert limits["account", None]["used"] == "10.00"
    assert limits["user", "ann"]["remaining"] == "0"


async def test_a_quota_that_is_set_below_what_is_used_tells_at_once(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.record("9", user_id="ann", **CHAT)
    await shop.quota("10", hard=False)
    assert await alerts(shop) == [("chat_messages", 80, 9)]
    await shop.quota("8", hard=False)
    assert await alerts(shop) == [("chat_messages", 80, 9), ("chat_messages", 100, 9)]
    await shop.quota("10", each_user=True)
    await shop.record("1", user_id="ann", **CHAT)
    told = await shop.rows(
        "SELECT owner, threshold, used_amount::integer FROM usage_alerts"
        " WHERE account_id = :id AND owner <> '' ORDER BY id"
    )
    assert told == [("u:ann", 80, 9), ("u:ann", 100, 10)]


async def test_a_plan_that_gives_less_than_is_used_tells_at_once(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    await shop.record("45", feature_type="ai_responses")
    assert await alerts(shop) == []
    await agree(shop, "ai_responses", "50")
    assert await alerts(shop) == [("ai_responses", 80, 45)]
    await agree(shop, "ai_responses", "40")
    assert await alerts(shop) == [("ai_responses", 80, 45), ("ai_responses", 100, 45)]
    await agree(shop, "ai_responses", "100")
    await agree(shop, "ai_responses", "40")
    assert len(await alerts(shop)) == 2, "once per threshold and window"


async def agree(shop: Shop, meter: str, included: str) -> None:
    answer = await shop.api.client.put(
        f"/api/v1/admin/accounts/{shop.account['id']}/limits/{meter}",
        json={"included": included, "then": "notify"}, headers=shop.api.admin(),
    )  # fmt: skip
    assert answer.status_code == 200, answer.text


async def test_what_was_carried_into_a_cycle_counts_for_its_alerts(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.record("30", feature_type="ai_responses")
    await move_clock(shop, hours=1)
    await shop.subscribe("free", start=NOW + timedelta(hours=1))
    (limit,) = [one for one in await shop.limits() if one["meter"] == "ai_responses"]
    assert (limit["limit"], limit["used"]) == ("50.00", "30.00")
    await shop.record("9", feature_type="ai_responses")
    assert await alerts(shop) == []
    await shop.record("1", feature_type="ai_responses")
    await shop.record("10", feature_type="ai_responses")
    assert await alerts(shop) == [("ai_responses", 80, 40), ("ai_responses", 100, 50)]
    told = await shop.rows(
        "SELECT DISTINCT limit_amount::integer FROM usage_alerts WHERE account_id = :id"
    )
    assert told == [(50,)]


async def test_a_soft_quota_warns_and_each_threshold_is_told_once(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("10", hard=False, window="day")
    for _ in range(6):
        await shop.record("3", **CHAT)
    assert await alerts(shop) == [("chat_messages", 80, 9), ("chat_messages", 100, 12)]
    told = await shop.rows(
        "SELECT data ->> 'threshold_percent' FROM events WHERE account_id = :id"
        " AND type = 'evt.billing.usage.threshold_reached' ORDER BY seq"
    )
    assert told == [("80",), ("100",)]
    subjects = await shop.rows(
        "SELECT DISTINCT data ->> 'subject' FROM events WHERE account_id = :id"
        " AND type = 'evt.billing.usage.threshold_reached'"
    )
    check = (await shop.post("/quota/check", {"requested_amount": "1"} | CHAT)).json()
    assert (check["allowed"], check["soft_limit_reached"]) == (True, True)
    await shop.quota("1", hard=False, window="day", user_id="ann")
    await shop.record("1", user_id="ann", **CHAT)
    shown = (await shop.get("/usage/alerts"))["data"]
    assert [(one["owner_id"], one["threshold_percent"], one["used"]) for one in shown] == [
        ("ann", 100, "1.00"), ("ann", 80, "1.00"), (None, 100, "12.00"), (None, 80, "9.00"),
    ]  # fmt: skip
    assert shown[2]["source"] == "quota"
    assert shown[2]["subject_id"].startswith("qta_")
    assert subjects == [(f"quota {shown[2]['subject_id']}",)], "events name it as answers do"
    others = await shop.api.client.get("/api/v1/usage/alerts", headers=shop.headers("member"))
    assert [one["owner"] for one in others.json()["data"]] == ["account", "account"]


async def test_fifty_at_once_never_get_more_than_the_quota(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.quota("20", window="cycle")
    body = {"usage_amount": "1"} | CHAT
    answers = await asyncio.gather(*(shop.post("/usage/record", body) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [429] * 30
    assert all("Retry-After" in a.headers for a in answers if a.status_code == 429)
    assert await shop.rows("SELECT used::integer FROM billing_quotas WHERE account_id = :id") == [
        (20,)
    ]


async def test_a_use_claimed_beforehand_counts_once_and_expires_unsettled(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.quota("10")
    events = [f"evt-{uuid4()}" for _ in range(3)]

    async def claim(event: str, amount: str = "5") -> bool:
        body = {"requested_amount": amount, "consume": True, "event_id": event} | CHAT
        return bool((await shop.post("/quota/check", body)).json()["allowed"])

    assert [await claim(event) for event in events] == [True, True, False]
    assert await claim(events[0])
    await shop.record("1", status=429, **CHAT)
    await shop.record("5", event_id=events[0], **CHAT)
    limits = await shop.limits()
    assert [one["used"] for one in limits if one["source"] == "quota"] == ["10.00"]
    await move_clock(shop, minutes=10)
    await shop.record("5", **CHAT)
    await shop.record("1", status=429, **CHAT)


async def test_a_level_is_claimed_by_its_rise(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic", "100")
    await shop.quota("10", service_type="storage_minio")
    await shop.record("8", service_type="storage_minio")

    async def asked(amount: str, **more: Any) -> tuple[bool, str]:
        body = {"requested_amount": amount, "service_type": "storage_minio"} | more
        answer = (await shop.post("/quota/check", body)).json()
        return answer["allowed"], answer["requested"]

    for amount, allowed, rise in (("9", True, "1.00"), ("8", True, "0"), ("11", False, "3.00")):
        event = {"consume": True, "event_id": f"level-{amount}"}
        assert await asked(amount) == (allowed, rise)
        assert await asked(amount, **event) == (allowed, rise)
    await shop.record("9", service_type="storage_minio", event_id="level-9")
    await shop.record("8", service_type="storage_minio", event_id="level-8")
    (used,) = await shop.rows(
        "SELECT used::integer FROM billing_quotas WHERE account_id = :id AND meter = 'storage_gb'"
    )
    assert used == (9,)


async def test_a_rolling_quota_forgets_each_use_in_its_time(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.quota("10", window="rolling", span_seconds=3600)
    await shop.record("4", **CHAT)
    await move_clock(shop, minutes=30)
    await shop.record("6", **CHAT)
    await shop.record("1", status=429, **CHAT)
    await move_clock(shop, minutes=31)
    await shop.record("5", status=429, **CHAT)
    await shop.record("4", **CHAT)
    await move_clock(shop, hours=5)
    await shop.record("10", **CHAT)


async def test_a_quota_begins_with_what_was_counted_and_can_be_taken_away(
    new_shop: NewShop,
) -> None:
    shop = await new_shop()
    await shop.record("4", **CHAT)
    quota = await shop.quota("5", window="month")
    assert quota["used"] == "4.00"
    await shop.record("2", status=429, **CHAT)
    gone = await shop.api.client.delete(
        f"/api/v1/admin/quotas/{quota['quota_id']}", headers=shop.api.admin()
    )
    assert gone.status_code == 200
    await shop.record("2", **CHAT)


async def test_a_level_is_charged_by_its_highest_and_shown_by_its_last(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100")
    paid: dict[str, Any] = {"product_id": "storage", "billing_method": "credit_consumption"}
    totals = [(await shop.record(level, **paid))["total_cost"] for level in "3524"]
    assert totals == ["4.00", "4.00", "0", "0"], "the default plan includes 1 GB"
    meter = (await shop.get("/usage/current"))["meters"]["storage_gb"]
    assert (meter["maximum"], meter["last_value"]) == ("5.00", "4.00")
