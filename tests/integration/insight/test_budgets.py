"""Budgets: what is told, what is stopped, and what accounts without one never notice [Q7]."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from tests.integration.catalog.subscribing import change
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.holds_made import hold

NOW = datetime(2027, 1, 30, 12, tzinfo=UTC)
CHAT: dict[str, Any] = {"feature_type": "chat_messages"}


async def put(shop: Shop, limit: str, status: int = 200, **fields: Any) -> Any:
    answer = await shop.api.client.put(
        f"{V1}/usage/budgets", json={"limit": limit} | fields, headers=shop.headers()
    )
    assert answer.status_code == status, answer.text
    return answer.json()


async def delete(shop: Shop, budget: Any) -> int:
    answer = await shop.api.client.delete(
        f"{V1}/usage/budgets/{budget['budget_id']}", headers=shop.headers()
    )
    return answer.status_code


async def told(shop: Shop) -> list[Any]:
    return await shop.rows(
        "SELECT data ->> 'meter', (data ->> 'threshold_percent')::integer, data ->> 'used'"
        " FROM events WHERE account_id = :id AND type = 'evt.billing.usage.budget_reached'"
        " ORDER BY seq"
    )


async def move_to(shop: Shop, at: datetime) -> None:
    async with shop.api.database.operator() as connection:
        await connection.execute(
            text("UPDATE accounts SET clock_at = :at WHERE id = :id"), {"at": at, "id": shop.id}
        )


async def test_a_budget_tells_each_threshold_once_per_window(new_shop: NewShop) -> None:
    shop = await new_shop("1000", is_test=True, clock_at=NOW.isoformat())
    budget = await put(shop, "10", alert_percents=[50, 100])
    for _ in range(7):
        await shop.record("1000")  # 2 credits
    assert await told(shop) == [("credits", 50, "6.00"), ("credits", 100, "10.00")]
    seen = await shop.get(f"/usage/budgets/{budget['budget_id']}")
    assert (seen["used"], seen["remaining"], seen["window_start"], seen["window_end"]) == (
        "14.00", "0", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z",
    )  # fmt: skip
    await move_to(shop, datetime(2027, 2, 1, tzinfo=UTC))
    await shop.record("3000")
    assert (await told(shop))[2:] == [("credits", 50, "6.00")]


async def test_what_is_used_already_counts_and_is_told_at_once(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.record("9", **CHAT)
    budget = await put(shop, "10", measure="meter", **CHAT)
    assert (budget["used"], budget["meter"], budget["then"]) == ("9.00", "chat_messages", "notify")
    assert await told(shop) == [("chat_messages", 80, "9.00")]
    await put(shop, "9", measure="meter", **CHAT)
    assert await told(shop) == [("chat_messages", 80, "9.00"), ("chat_messages", 100, "9.00")]
    assert len((await shop.get("/usage/budgets"))["data"]) == 1


async def test_a_budget_that_blocks_refuses_what_would_go_over_it(new_shop: NewShop) -> None:
    shop = await new_shop("1000", is_test=True, clock_at=NOW.isoformat())
    budget = await put(shop, "5", then="block")
    await shop.record("2000")
    refused = await shop.record("1000", status=429)
    assert (refused["code"], refused["limit"], refused["used"], refused["budget_id"]) == (
        "BUDGET_EXCEEDED", "5.00", "4.00", budget["budget_id"],
    )  # fmt: skip
    assert refused["resets_at"] == "2027-02-01T00:00:00Z"
    await shop.record("100", **CHAT)  # costs nothing
    assert await shop.balance() == 996
    body = {"usage_amount": "3000", "product_id": "gpt-4"}  # more than the budget ever has
    never = await shop.post("/usage/record", body)
    assert (never.status_code, "Retry-After" in never.headers) == (429, False)
    asked = {"requested_amount": "3000", "product_id": "gpt-4"}
    check = (await shop.post("/quota/check", asked)).json()
    assert (check["refused_by"], check["passes_at"]) == ("budget", None)
    late = datetime(2026, 12, 31, 23, tzinfo=UTC).isoformat()
    await shop.record("1000", occurred_at=late)  # of another month, and late
    rows = [{"usage_amount": n, "product_id": "gpt-4"} for n in ("600", "400", "200", "100")]
    done = await shop.batch(*rows)
    assert [row.get("code") for row in done["results"]] == [
        "BUDGET_EXCEEDED", None, "BUDGET_EXCEEDED", None,
    ]  # fmt: skip
    assert await delete(shop, budget) == 200
    assert await delete(shop, budget) == 404
    await shop.record("1000")


async def test_a_budget_on_a_level_counts_each_cycle_from_zero(new_shop: NewShop) -> None:
    storage: dict[str, Any] = {"feature_type": "storage_gb"}
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    level: dict[str, Any] = {"measure": "meter", "then": "block"} | storage
    refused = await put(shop, "15", status=422, window="month", **level)
    assert refused["errors"][0]["field"] == "window"
    assert (await put(shop, "15", **level))["window"] == "cycle"
    first, second, third = (datetime(2027, month, 15, tzinfo=UTC) for month in (1, 2, 3))
    await shop.subscribe("pro", start=first, end=second)
    await shop.record("10", **storage)
    await move_to(shop, first + timedelta(days=26))
    await shop.record("13", **storage)
    await move_to(shop, second + timedelta(hours=1))
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, cycle_start=second, cycle_end=third)
    await shop.record("13", **storage)
    refused = await shop.post("/usage/record", {"usage_amount": "16"} | storage)
    assert (refused.json()["code"], "Retry-After" in refused.headers) == ("BUDGET_EXCEEDED", False)
    check = (await shop.post("/quota/check", {"requested_amount": "16"} | storage)).json()
    assert (check["refused_by"], check["passes_at"]) == ("budget", None), "it rises by 3, from 0 16"


async def test_a_counted_use_passes_in_the_next_window_whatever_its_amount(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    meter: dict[str, Any] = {"name": "Renders", "unit": "render", "kind": "count"}
    renders: dict[str, Any] = {"feature_type": "renders"}

    async def offer(**more: Any) -> None:
        path, body = f"{V1}/admin/meters/renders", meter | more
        answer = await shop.api.client.put(path, json=body, headers=shop.api.admin())
        assert answer.status_code == 200, answer.text

    await offer(feature_types=["renders"])
    try:
        await put(shop, "1", measure="meter", then="block", **renders)
        await shop.record("100", **renders)
        refused = await shop.post("/usage/record", {"usage_amount": "100"} | renders)
        assert refused.json()["code"] == "BUDGET_EXCEEDED"
        assert int(refused.headers["Retry-After"]) == 36 * 3600
    finally:
        await offer(is_active=False)


async def test_of_fifty_at_once_no_more_get_through_than_the_budget_has(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("1000")
    await put(shop, "20", then="block", window="cycle")
    body = {"usage_amount": "1000", "product_id": "gpt-4"}
    answers = await asyncio.gather(*(shop.post("/usage/record", body) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [429] * 40
    assert all("Retry-After" in a.headers for a in answers if a.status_code == 429)
    assert await shop.balance() == 980


async def test_money_of_the_next_invoice_has_a_budget_too(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await put(shop, "1", measure="money", window="cycle", then="block")
    await shop.record("550", feature_type="ai_responses")  # 50 beyond the plan, 0.02 each
    await shop.record("1", status=429, feature_type="ai_responses")
    assert [one[1] for one in await told(shop)] == [80, 100]


async def test_captures_of_holds_count_on_a_budget_in_credits(new_shop: NewShop) -> None:
    shop = await new_shop("1000", is_test=True, clock_at=NOW.isoformat())
    await capture(shop, "3")
    budget = await put(shop, "10", then="block")
    assert budget["used"] == "3.00", "what was captured before counts"
    await put(shop, "10", window="cycle")
    await capture(shop, "4")
    await capture(shop, "1")
    seen = await shop.get(f"/usage/budgets/{budget['budget_id']}")
    assert (seen["used"], await told(shop)) == ("8.00", [("credits", 80, "8.00")] * 2)
    await shop.record("1000")
    refused = await shop.record("1000", status=429)
    assert (refused["code"], refused["used"]) == ("BUDGET_EXCEEDED", "10.00")
    await capture(shop, "5")
    await move_to(shop, datetime(2027, 2, 1, tzinfo=UTC))
    assert (await shop.get(f"/usage/budgets/{budget['budget_id']}"))["used"] == "0"
    await capture(shop, "2")
    seen = await shop.get(f"/usage/budgets/{budget['budget_id']}")
    assert seen["used"] == "2.00"


async def capture(shop: Shop, amount: str) -> None:
    held = await hold(shop, amount)
    answer = await shop.post(f"/billing/credits/holds/{held}/capture", {})
    assert answer.status_code == 200, answer.text


async def test_what_a_quota_and_a_budget_refuse_passes_when_both_let_it(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat())
    await put(shop, "1", measure="meter", then="block", **CHAT)
    await shop.quota("1", window="day")
    await shop.record("1", **CHAT)
    check = (await shop.post("/quota/check", {"requested_amount": "1"} | CHAT)).json()
    assert (check["refused_by"], check["passes_at"]) == ("quota", "2027-02-01T00:00:00Z")
    refused = await shop.post("/usage/record", {"usage_amount": "1"} | CHAT)
    assert int(refused.headers["Retry-After"]) == 36 * 3600


async def test_a_budget_of_one_account_leaves_the_others_of_its_batch_alone(
    new_shop: NewShop,
) -> None:
    bound, free = await new_shop("100"), await new_shop("100")
    await put(bound, "1", then="block")
    await put(free, "100", alert_percents=[2])
    rows = [
        {"account_id": shop.account["id"], "usage_amount": "1000", "product_id": "gpt-4"}
        for shop in (bound, free, bound, free)
    ]
    api = bound.api
    answer = await api.client.post(
        f"{V1}/usage/batch", json={"events": rows}, headers=api.token("*", ["service"])
    )
    codes = [row.get("code") for row in answer.json()["results"]]
    assert codes == ["BUDGET_EXCEEDED", None, "BUDGET_EXCEEDED", None]
    assert await told(bound) == []
    assert await told(free) == [("credits", 2, "4.00")]


async def test_budgets_are_checked_when_they_are_written(new_shop: NewShop) -> None:
    shop = await new_shop()
    await put(shop, "5", status=422, measure="meter")
    await put(shop, "5", status=422, **CHAT)
    await put(shop, "-5", status=422)
    await put(shop, "5", status=404, measure="meter", feature_type="no-such-thing")
    await put(shop, "5", status=422, alert_percents=[0])
    assert await shop.rows("SELECT budget_mode FROM credit_balances") == [(None,)]
    await put(shop, "5")
    assert await shop.rows("SELECT budget_mode FROM credit_balances") == [("notify",)]
    hard = await put(shop, "5", then="block")
    assert await shop.rows("SELECT budget_mode FROM credit_balances") == [("block",)]
    assert await delete(shop, hard) == 200
    assert await shop.rows("SELECT budget_mode FROM credit_balances") == [("notify",)]
    audited = await shop.rows("SELECT action FROM billing_audit WHERE account_id = :id ORDER BY at")
    assert [action for (action,) in audited if action.startswith("budget")] == [
        "budget.set", "budget.set", "budget.removed",
    ]  # fmt: skip
