"""A use that a hold pays: spent from what was set aside, counted like any other, once."""

import asyncio
from typing import Any
from uuid import uuid4

from billing.insight.integrity import service as integrity
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.holds_made import HOLDS, hold, state


async def balance_and_held(shop: Shop) -> tuple[str, str]:
    shown = await shop.get("/billing/credits/balance")
    return shown["credits"], shown["held"]


async def test_a_hold_pays_what_was_used_and_the_rest_is_free_again(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    await shop.quota("5000", service_type="model_inference")
    held = await hold(shop)
    done = await shop.record(hold_id=held, user_id="ann", event_id="req-1")
    assert (done["billing_status"], done["total_cost"]) == ("completed", "2.00")
    assert done["billing_method"] == "credit_consumption"
    assert await state(shop, held) == ("captured", "2.00")
    assert await balance_and_held(shop) == ("8.00", "0")

    record = await shop.get(f"/billing/records/{done['billing_id']}")
    entry = await shop.get(f"/billing/credits/transactions/{record['transaction_id']}")
    assert (entry["kind"], entry["amount"]) == ("capture", "-2.00")
    assert entry["detail"]["billing_id"] == done["billing_id"]
    used = (await shop.get("/usage/current"))["current_period"]
    assert used["model_inference"] == "1000.00"
    checked = await shop.post(
        "/quota/check", {"service_type": "model_inference", "requested_amount": "1"}
    )
    assert checked.json()["used"] == "1000.00"


async def test_a_use_with_a_hold_is_recorded_once_by_its_event(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    held = await hold(shop)
    first = await shop.record(hold_id=held, event_id="req-1")
    body = {"usage_amount": "1000", "product_id": "gpt-4", "hold_id": held, "event_id": "req-1"}
    again = await shop.post("/usage/record", body)
    assert (again.headers["Idempotent-Replayed"], again.json()) == ("true", first)
    other = await hold(shop)
    refused = await shop.record(status=422, hold_id=other, event_id="req-1")
    assert refused["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert await state(shop, other) == ("open", "0")
    assert await balance_and_held(shop) == ("8.00", "5.00")


async def test_a_hold_that_ended_or_is_not_ones_own_pays_nothing(new_shop: NewShop) -> None:
    shop, stranger = await new_shop("30"), await new_shop("10")
    captured, released = await hold(shop), await hold(shop)
    await shop.record(hold_id=captured)
    again = await shop.record(status=409, hold_id=captured)
    assert (again["code"], again["hold_status"]) == ("HOLD_RESOLVED", "captured")
    await shop.post(f"{HOLDS}/{released}/release", {})
    assert (await shop.record(status=409, hold_id=released))["hold_status"] == "released"
    theirs = await shop.record(status=404, hold_id=await hold(stranger))
    assert theirs["code"] == "HOLD_NOT_FOUND"
    assert (await shop.record(status=404, hold_id="hld_nonsense"))["code"] == "HOLD_NOT_FOUND"
    assert await balance_and_held(shop) == ("28.00", "0")
    assert len(await shop.rows("SELECT 1 FROM billing_records WHERE account_id = :id")) == 1


async def test_a_expired_hold_pays_nothing_though_nobody_has_noticed(new_shop: NewShop) -> None:
    shop = await new_shop("10", is_test=True, clock_at="2027-01-01T10:00:00Z")
    held = await hold(shop, expires_in_seconds=60)
    async with shop.api.database.operator() as connection:
        await connection.exec_driver_sql(
            f"UPDATE accounts SET clock_at = clock_at + interval '1 hour' WHERE id = '{shop.id}'"
        )
    refused = await shop.record(status=409, hold_id=held)
    assert (refused["code"], refused["hold_status"]) == ("HOLD_RESOLVED", "expired")
    assert await balance_and_held(shop) == ("10.00", "0")


async def test_a_use_dearer_than_its_hold_is_refused_and_leaves_it_open(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    held = await hold(shop, "1.5")
    refused = await shop.record(status=422, hold_id=held)
    assert (refused["code"], refused["required"], refused["held"]) == (
        "HOLD_EXCEEDED", "2.00", "1.50",
    )  # fmt: skip
    assert await state(shop, held) == ("open", "0")
    await shop.quota("10", service_type="model_inference")
    over = await shop.record("700", status=429, hold_id=held)
    assert over["code"] == "QUOTA_EXCEEDED"
    assert await shop.rows("SELECT 1 FROM billing_records WHERE account_id = :id") == []
    assert await balance_and_held(shop) == ("10.00", "1.50")


async def test_a_use_that_costs_nothing_releases_its_hold(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    held = await hold(shop)
    done = await shop.record("100", product_id="gpt-4-mini", hold_id=held)
    assert (done["total_cost"], done["is_free_tier"]) == ("0", True)
    assert await state(shop, held) == ("released", "0")
    assert await balance_and_held(shop) == ("10.00", "0")


async def test_a_use_that_the_plan_covers_costs_nothing_whatever_was_to_pay_it(
    new_shop: NewShop,
) -> None:
    """The default plan includes 50 `ai_responses`, which have no price of their own."""
    shop = await new_shop("10")
    held = await hold(shop)
    use: dict[str, Any] = {"feature_type": "ai_responses"}
    done = await shop.record("20", **use, hold_id=held)
    assert (done["total_cost"], done["billing_method"]) == ("0", "subscription_included")
    assert await state(shop, held) == ("released", "0")
    for method in ("credit_consumption", "wallet_deduction"):
        done = await shop.record("10", **use, billing_method=method)
        assert (done["total_cost"], done["is_included_in_subscription"]) == ("0", True)
    assert await balance_and_held(shop) == ("10.00", "0")
    assert (await integrity.examine(shop.api.database, shop.id)).ok


async def test_credits_pay_no_feature_without_a_price_beyond_the_plan(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    held, use = await hold(shop), {"feature_type": "ai_responses", "usage_amount": "20"}
    by_credits = use | {"billing_method": "credit_consumption"}
    done = await shop.batch(*[by_credits] * 3, use | {"usage_amount": "5"})
    assert [row.get("code", row["status"]) for row in done["results"]] == [
        "recorded", "recorded", "PRODUCT_PRICING_NOT_FOUND", "recorded",
    ]  # fmt: skip
    refused = await shop.post("/usage/record", use | {"hold_id": held})
    assert (refused.status_code, refused.json()["code"]) == (404, "PRODUCT_PRICING_NOT_FOUND")
    unlimited = by_credits | {"feature_type": None, "service_type": "agent_execution"}
    refused = await shop.post("/usage/record", unlimited)
    assert (refused.status_code, refused.json()["code"]) == (404, "PRODUCT_PRICING_NOT_FOUND")
    assert await state(shop, held) == ("open", "0")
    (ai,) = [one for one in await shop.limits() if one["meter"] == "ai_responses"]
    assert ai["used"] == "45.00"


async def test_bought_credits_that_were_held_count_as_the_wallet(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    done = await shop.record(hold_id=await hold(shop, paid_only=True))
    assert done["billing_method"] == "wallet_deduction"
    for more in ({"billing_method": "wallet_deduction"}, {"on_insufficient": "defer"}):
        refused = await shop.record(status=422, hold_id=await hold(shop, "1"), **more)
        assert refused["code"] == "VALIDATION_FAILED"


async def test_rows_of_a_batch_may_each_have_a_hold(new_shop: NewShop) -> None:
    shop = await new_shop("20")
    one, two = await hold(shop), await hold(shop, "1")
    use = {"usage_amount": "1000", "product_id": "gpt-4"}
    rows: list[dict[str, Any]] = [
        use | {"hold_id": one, "event_id": "a"}, use | {"event_id": "b"},
        use | {"hold_id": two}, use | {"hold_id": "hld_nonsense"},
        use | {"hold_id": one, "event_id": "a"},
        use | {"hold_id": one, "billing_method": "wallet_deduction"},
    ]  # fmt: skip
    done = await shop.batch(*rows)
    assert [row.get("code", row["status"]) for row in done["results"]] == [
        "recorded", "recorded", "HOLD_EXCEEDED", "HOLD_NOT_FOUND", "duplicate",
        "VALIDATION_FAILED",
    ]  # fmt: skip
    assert done["results"][2]["detail"] == "the use costs 2.00 credits, more than the 1.00 held"
    assert await balance_and_held(shop) == ("16.00", "1.00")
    again = await shop.batch(*rows[:2])
    assert (again["recorded"], again["duplicate"]) == (0, 2)


async def test_one_hold_pays_once_however_many_ask_at_the_same_time(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    held = await hold(shop, "50")
    body = {"usage_amount": "1000", "product_id": "gpt-4", "hold_id": held}
    answers = await asyncio.gather(
        *(shop.post("/usage/record", body | {"event_id": str(uuid4())}) for _ in range(20)),
        *(shop.record() for _ in range(10)),
    )
    codes = sorted(one.status_code for one in answers[:20])
    assert codes == [201] + [409] * 19
    assert await balance_and_held(shop) == ("78.00", "0")
    report = await integrity.examine(shop.api.database, shop.id)
    assert report.ok, [check for check in report.checks if not check.ok]


async def test_a_member_spends_only_holds_that_its_own_sub_made(new_shop: NewShop) -> None:
    shop = await new_shop("20")

    async def as_(subject: str, roles: list[str], path: str, body: Any) -> Any:
        headers = shop.api.token(shop.account["id"], roles, subject)
        return await shop.api.client.post(f"/api/v1{path}", json=body, headers=headers)

    by_ann = await as_("ann", ["member", "billing"], HOLDS, {"amount": "5"})
    ann, boss = by_ann.json()["hold_id"], await hold(shop)
    use = {"usage_amount": "1", "product_id": "gpt-4"}
    refused = await as_("ann", ["member"], "/usage/record", use | {"hold_id": boss})
    assert (refused.status_code, refused.json()["code"]) == (404, "HOLD_NOT_FOUND")
    rows = [use | {"hold_id": boss}, use | {"hold_id": ann}]
    refused = await as_("eve", ["member"], "/usage/batch", {"events": rows})
    assert [row["code"] for row in refused.json()["results"]] == ["HOLD_NOT_FOUND"] * 2
    assert await balance_and_held(shop) == ("20.00", "10.00")
    done = await as_("ann", ["member"], "/usage/batch", {"events": rows})
    assert [row["status"] for row in done.json()["results"]] == ["rejected", "recorded"]
    await shop.record("1", hold_id=boss)
    assert (await state(shop, ann), await state(shop, boss)) == (
        ("captured", "0.002"), ("captured", "0.002"),
    )  # fmt: skip


async def test_a_member_is_shown_only_its_own_holds_to_come(new_shop: NewShop) -> None:
    shop = await new_shop("20")
    ann = shop.api.token(shop.account["id"], ["member", "billing"], "ann")
    await shop.api.client.post(f"{V1}{HOLDS}", json={"amount": "5"}, headers=ann)
    await hold(shop, "3")

    async def seen(*roles: str) -> list[str]:
        headers = shop.api.token(shop.account["id"], roles, "ann")
        answer = await shop.api.client.get(f"{V1}/billing/timeline", headers=headers)
        return sorted(one["words"].split()[0] for one in answer.json()["future"])

    assert await seen("member") == ["5.00"]
    assert await seen("member", "billing") == ["3.00", "5.00"]


async def test_what_was_spent_and_its_usage_logs_agree(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    plain = await hold(shop, "10")
    captured = {"amount": "4", "reason": "render", "detail": {"model": "sdxl"}}
    done = [await shop.post(f"{HOLDS}/{plain}/capture", captured) for _ in range(2)]
    (entry,) = {one.json()["transaction_id"] for one in done}
    await shop.record(hold_id=await hold(shop), operation="chat", model="gpt-4")
    await shop.record(operation="chat", model="gpt-4")
    logs = await shop.get("/billing/credits/usage/")
    assert [(one["kind"], one["operation"], one["total_amount"]) for one in logs["data"]] == [
        ("usage", "chat", "2.00"), ("usage", "chat", "2.00"), ("capture", "render", "4.00"),
    ]  # fmt: skip
    assert (logs["data"][-1]["transaction_id"], logs["data"][-1]["billing_id"]) == (entry, None)
    pages = [await shop.get("/usage/logs", limit=2)]
    pages.append(
        await shop.get("/usage/logs", limit=2, cursor=pages[0]["pagination"]["next_cursor"])
    )
    assert [one for page in pages for one in page["data"]] == logs["data"]
    assert (await shop.get("/usage/logs", limit=2, page=2))["data"] == logs["data"][2:]
    assert [page["pagination"]["total"] for page in pages] == [3, 3]
    for query, seen in (
        ({"model": "sdxl"}, 1), ({"operation": "chat"}, 2), ({"status": "completed"}, 3),
        ({"status": "pending"}, 0), ({"service_type": "model_inference"}, 2), ({"user_id": "u"}, 0),
    ):  # fmt: skip
        assert len((await shop.get("/usage/logs", **query))["data"]) == seen, query
    summary = await shop.get("/billing/credits/usage/summary/")
    balance = await shop.get("/billing/credits/balance/")
    assert summary["total_credits"] == balance["credits_used_this_month"] == "8.00"
    assert [(one["name"], one["credits"]) for one in summary["by_model"]] == [
        ("gpt-4", "4.00"), ("sdxl", "4.00"),
    ]  # fmt: skip
    assert [(one["name"], one["events"]) for one in summary["by_operation"]] == [
        ("chat", 2), ("render", 1),
    ]  # fmt: skip
    assert await shop.rows("SELECT sum(credits)::integer FROM credit_usage_logs") == [(8,)]
    assert (await integrity.examine(shop.api.database, shop.id)).ok


async def test_a_member_reads_the_logs_of_the_holds_it_made(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    for subject in ("ann", "bob"):
        caller = shop.api.token(shop.account["id"], ["billing"], subject) | {
            "Idempotency-Key": str(uuid4())
        }
        made = await shop.api.client.post(f"{V1}{HOLDS}", json={"amount": "3"}, headers=caller)
        path = f"{V1}{HOLDS}/{made.json()['hold_id']}/capture"
        said = {"reason": f"for {subject}"}
        assert (await shop.api.client.post(path, json=said, headers=caller)).status_code == 200
    bob = shop.api.token(shop.account["id"], ["member"], "bob")
    seen = await shop.api.client.get(f"{V1}/usage/logs", headers=bob)
    assert [one["user_id"] for one in seen.json()["data"]] == ["bob"]
    assert len((await shop.get("/usage/logs"))["data"]) == 2
    summary = await shop.api.client.get(f"{V1}/usage/summary", headers=bob)
    sums = {one["name"]: one["credits"] for one in summary.json()["by_operation"]}
    assert sums == {"for bob": "3.00", "capture": "3.00"}
    whole = (await shop.get("/usage/summary"))["by_operation"]
    assert {one["name"] for one in whole} == {"for ann", "for bob"}


async def test_a_hold_that_a_use_ended_is_not_captured_once_more(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    held = await hold(shop)
    await shop.record(hold_id=held, event_id="req-1")
    await _is_resolved(shop, held, {"amount": "2"})
    await _is_resolved(shop, held, {"amount": "2", "reason": "usage: gpt-4"})
    assert await balance_and_held(shop) == ("8.00", "0")


async def test_a_capture_for_other_work_is_no_repeat(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    held, work = await hold(shop), {"amount": "3", "reason": "work A", "detail": {"model": "m"}}
    first = await _captured(shop, held, work, {"Idempotency-Key": "c1"})
    for same in ({"Idempotency-Key": "c1"}, {}):
        assert await _captured(shop, held, work, same) == first
    await _is_resolved(shop, held, work, {"Idempotency-Key": "c2"})
    await _is_resolved(shop, held, work | {"reason": "work B"}, {"Idempotency-Key": "c1"})
    await _is_resolved(shop, held, work | {"detail": {"model": "n"}})
    await _is_resolved(shop, held, {"amount": "3"})
    assert await balance_and_held(shop) == ("7.00", "0")


async def test_of_captures_of_one_hold_at_once_each_key_is_other_work(new_shop: NewShop) -> None:
    shop = await new_shop("10")
    held = await hold(shop)
    headers = [{"Idempotency-Key": key} for key in ("a", "b", "a", "b", "c")]
    answers = await asyncio.gather(*(_capture(shop, held, {}, one) for one in headers))
    taken = {
        one["Idempotency-Key"]
        for one, answer in zip(headers, answers, strict=True)
        if answer.status_code == 200
    }
    assert len(taken) == 1
    assert {answer.status_code for answer in answers} == {200, 409}
    assert await balance_and_held(shop) == ("5.00", "0")


async def _capture(shop: Shop, held: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
    return await shop.post(f"{HOLDS}/{held}/capture", body, **headers)


async def _captured(shop: Shop, held: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
    answer = await _capture(shop, held, body, headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _is_resolved(
    shop: Shop, held: str, body: dict[str, Any], headers: dict[str, str] | None = None
) -> None:
    answer = await _capture(shop, held, body, headers or {})
    assert (answer.status_code, answer.json().get("hold_status")) == (409, "captured"), answer.text
