"""Asked before the work: plan, quotas and budgets have their word, and what is claimed stays."""

import asyncio
from typing import Any
from uuid import uuid4

from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.shops_on_plans import move_clock, on_plan
from tests.integration.usage.test_agreed_limits import agree

AI: dict[str, Any] = {"feature_type": "ai_responses"}
GPT: dict[str, Any] = {"product_id": "gpt-4"}


async def ask(shop: Shop, amount: str, **more: Any) -> Any:
    answer = await shop.post("/quota/check", {"requested_amount": amount} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def claim(shop: Shop, amount: str, event: str | None = None, **more: Any) -> Any:
    return await ask(shop, amount, consume=True, event_id=event or str(uuid4()), **more)


async def budget(shop: Shop, limit: str, **more: Any) -> str:
    body = {"limit": limit, "then": "block"} | more
    answer = await shop.api.client.put(f"{V1}/usage/budgets", json=body, headers=shop.headers())
    assert answer.status_code == 200, answer.text
    return str(answer.json()["budget_id"])


async def test_what_a_blocking_plan_has_left_is_set_aside_by_a_claim(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    assert (await claim(shop, "40", "job", **AI))["allowed"]
    asked = await ask(shop, "20", **AI)
    assert (asked["allowed"], asked["refused_by"], asked["used"]) == (False, "plan", "40.00")
    refused = await shop.record("20", status=429, **AI)
    assert (refused["code"], refused["refused_by"], refused["used"]) == (
        "QUOTA_EXCEEDED", "plan", "40.00",
    )  # fmt: skip
    assert not (await claim(shop, "11", **AI))["allowed"]
    rows = [AI | {"usage_amount": n} for n in ("10", "1")]
    job = AI | {"usage_amount": "40", "event_id": "job"}
    mixed = await shop.batch(rows[0], job, rows[1])
    assert [row["status"] for row in mixed["results"]] == ["recorded", "recorded", "rejected"]
    assert (await shop.get("/usage/current"))["current_period"]["ai_responses"] == "50.00"


async def test_a_plan_that_blocks_is_not_asked_about_what_credits_pay(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "free")
    await shop.grant("100")
    await agree(shop, "api_calls", included="100", then="block")
    calls: dict[str, Any] = {"product_id": "api-call"}  # 0.1 credits for a hundred
    await shop.record("100", feature_type="api_calls")
    for method, refused_by in (
        (None, "plan"), ("subscription_included", "plan"), ("wallet_deduction", None),
        ("credit_consumption", None),
    ):  # fmt: skip
        paid = calls | {"billing_method": method}
        asked = await ask(shop, "100", **paid)
        assert (asked["allowed"], asked["refused_by"]) == (refused_by is None, refused_by), method
        await shop.record("100", 429 if refused_by else 201, **paid)
    await budget(shop, "0.3")
    paid = calls | {"billing_method": "wallet_deduction"}
    for amount, refused_by in (("101", "budget"), ("100", None)):
        asked = await ask(shop, amount, **paid)
        assert (asked["allowed"], asked["refused_by"]) == (refused_by is None, refused_by)
        await shop.record(amount, 429 if refused_by else 201, **paid)
    claimed = {"requested_amount": "1", "consume": True, "event_id": "e"} | calls
    wrong = await shop.post("/quota/check", claimed | {"billing_method": "wallet_deduction"})
    assert wrong.status_code == 422


async def test_credits_are_asked_to_pay_a_feature_without_a_price_as_they_would_pay_it(
    new_shop: NewShop,
) -> None:
    shop = await on_plan(new_shop, "free")  # includes 50
    await shop.grant("100")
    wallet, by_credits = (
        AI | {"billing_method": m} for m in ("wallet_deduction", "credit_consumption")
    )
    for one in (wallet, by_credits):
        assert (await ask(shop, "20", **one))["allowed"]
        await shop.record("20", product_id=None, **one)
    await claim(shop, "5", **AI)
    for amount, status in (("6", 404), ("5", 200)):
        asked = await shop.post("/quota/check", by_credits | {"requested_amount": amount})
        assert asked.status_code == status, asked.text
        used = await shop.record(amount, status + (status == 200), product_id=None, **by_credits)
        assert asked.json().get("code") == used.get("code")
    # Of a meter whose products have prices it may name the product later.
    await ask(shop, "1", feature_type="api_calls", billing_method="credit_consumption")


async def test_a_claim_that_nobody_settles_gives_its_part_of_the_plan_back(
    new_shop: NewShop,
) -> None:
    shop = await on_plan(new_shop, "free")
    assert (await claim(shop, "50", **AI))["allowed"]
    assert (await shop.record("1", status=429, **AI))["refused_by"] == "plan"
    await move_clock(shop, minutes=11)
    await shop.record("50", **AI)


async def test_claims_and_uses_at_the_same_time_never_go_over_the_plan_together(
    new_shop: NewShop,
) -> None:
    shop = await on_plan(new_shop, "free")

    async def work(event: str) -> int:
        if not (await claim(shop, "3", event, **AI))["allowed"]:
            return 0
        await shop.record("3", event_id=event, **AI)
        return 3

    async def barge() -> int:
        answer = await shop.post("/usage/record", AI | {"usage_amount": "3"})
        return 3 if answer.status_code == 201 else 0

    used = await asyncio.gather(
        *(work(f"job-{n}") for n in range(15)), *(barge() for _ in range(15))
    )
    assert sum(used) == 48
    assert (await shop.get("/usage/current"))["current_period"]["ai_responses"] == "48.00"


async def test_a_budget_that_blocks_refuses_when_asked_and_its_figures_are_told(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100")
    name = await budget(shop, "5", measure="credits")
    await budget(shop, "1", measure="credits", then="notify")
    assert (await ask(shop, "2500", **GPT))["allowed"]
    asked = await ask(shop, "2501", **GPT)
    assert (asked["allowed"], asked["refused_by"], asked["budget_id"]) == (False, "budget", name)
    assert (asked["limit"], asked["used"], asked["remaining"]) == ("5.00", "0", "5.00")
    assert asked["reason"] == "this use would exceed a blocking budget"
    assert not (await claim(shop, "3000", "job", **GPT))["allowed"]
    assert await shop.rows("SELECT 1 FROM quota_claims WHERE account_id = :id") == []
    first = await claim(shop, "2000", "other", **GPT)
    await shop.record("1500")
    again = await claim(shop, "2000", "other", **GPT)
    assert (first["allowed"], again["allowed"], again["refused_by"]) == (True, True, None)
    assert (await shop.record("2000", status=429))["code"] == "BUDGET_EXCEEDED"
    assert (await ask(shop, "1", feature_type="chat_messages"))["allowed"], "it costs nothing"


async def test_a_budget_of_credits_is_asked_about_an_operation_too(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    await budget(shop, "15", measure="credits")
    writing: dict[str, Any] = {"operation": "content_writing"}  # ten credits each
    for allowed in (True, False):
        asked = await ask(shop, "1", **writing)
        assert (asked["allowed"], asked["refused_by"]) == (allowed, None if allowed else "budget")
        await shop.record("1", 201 if allowed else 429, product_id=None, **writing)
    covered = {"feature_type": "ai_responses", "billing_method": "wallet_deduction"} | writing
    assert (await ask(shop, "1", **covered))["allowed"], "the plan includes it"
    await shop.record("1", product_id=None, **covered)


async def test_what_is_claimed_of_a_blocking_plan_is_not_quoted_as_included(
    new_shop: NewShop,
) -> None:
    shop = await on_plan(new_shop, "free")
    await shop.grant("100")
    await agree(shop, "api_calls", included="100", then="block")
    await claim(shop, "100", "job", feature_type="api_calls")
    calls: dict[str, Any] = {"product_id": "api-call", "billing_method": "wallet_deduction"}
    told = await shop.post("/billing/calculate", {"product_id": "api-call", "usage_amount": "100"})
    await budget(shop, "0.05")
    asked = await ask(shop, "100", **calls)
    assert (told.json()["total_cost"], asked["refused_by"]) == ("0.10", "budget")
    await shop.record("100", 429, **calls)


async def test_money_and_units_are_looked_at_as_the_use_would_cost(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    money = await budget(shop, "2", measure="money", window="cycle")
    assert (await ask(shop, "600", **AI))["allowed"]
    asked = await ask(shop, "601", **AI)
    assert (asked["refused_by"], asked["budget_id"]) == ("budget", money)
    units = await budget(shop, "100", measure="meter", **AI)
    assert (await ask(shop, "101", **AI))["budget_id"] == units
    await shop.quota("50", feature_type="ai_responses")
    assert (await ask(shop, "101", **AI))["refused_by"] == "quota", "the tighter word comes first"


async def test_money_by_tier_is_looked_at_as_the_use_would_cost(new_shop: NewShop) -> None:
    shop = await on_plan(new_shop, "basic")
    tiers = [{"up_to": "100", "unit_price": "0.02"}, {"unit_price": "0.01"}]
    terms = {"model": "graduated", "tiers": tiers}
    await agree(shop, included="500", then="overage", prices={"USD": terms})
    await shop.record("550", **AI)
    await budget(shop, "3", measure="money", window="cycle")
    # 1.00 is spent; 50 more cost 1.00, and each after them 0.01.
    assert (await ask(shop, "150", **AI))["allowed"]
    assert (await ask(shop, "151", **AI))["refused_by"] == "budget"
    assert (await shop.record("151", status=429, **AI))["code"] == "BUDGET_EXCEEDED"
    await shop.record("150", **AI)


async def test_a_product_that_nobody_sells_is_named_as_when_it_is_recorded(
    new_shop: NewShop,
) -> None:
    shop, unknown = await new_shop(), {"product_id": "nobody-sells-this"}
    check = await shop.post("/quota/check", unknown | {"requested_amount": "1"})
    done = await shop.record("1", status=404, **unknown)
    assert (check.status_code, check.json()["code"]) == (404, "PRODUCT_PRICING_NOT_FOUND")
    assert check.json()["detail"] == done["detail"]
