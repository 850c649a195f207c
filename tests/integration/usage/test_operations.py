"""An operation without a product costs what its row says, else the built-in price [F5]."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import pytest

from billing.catalog.plans.rules import BUILT_IN_COSTS
from billing.insight.integrity import service as integrity
from tests.integration.usage.conftest import V1, NewShop, Shop
from tests.integration.usage.holds_made import hold
from tests.integration.usage.test_many_unpaid import counted, settle
from tests.integration.usage.test_rights import shop_in

NO_PLAN_LIMITS: Final[dict[str, Any]] = {"service_type": "agent_execution"}


async def put_cost(shop: Shop, operation: str, body: dict[str, Any]) -> None:
    answer = await shop.api.client.put(
        f"{V1}/admin/credit-costs/{operation}", json=body, headers=shop.api.admin()
    )
    assert answer.status_code == 200, answer.text


async def test_the_price_is_the_row_else_the_built_in_one(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    operation = f"op-{uuid4().hex[:12]}"
    unknown = {"operation": operation, "usage_amount": "1"}
    refused = (await shop.post("/usage/record", unknown)).json()
    assert refused["code"] == "METER_NOT_FOUND"
    assert refused["detail"] == (
        f"the operation '{operation}' has no cost: an operator sets it by"
        " PUT /admin/credit-costs/{operation}"
    )
    [in_batch] = (await shop.batch(unknown))["results"]
    asked = (
        await shop.post("/quota/check", {"operation": operation, "requested_amount": "1"})
    ).json()
    assert in_batch["detail"] == asked["detail"] == refused["detail"]
    by_wallet = unknown | {"billing_method": "wallet_deduction"}
    told = (await shop.post("/usage/record", by_wallet)).json()
    assert (told["code"], told["detail"]) == ("METER_NOT_FOUND", refused["detail"])
    await put_cost(shop, operation, {"cost": "12"})
    use = {"operation": operation, "usage_amount": "2", "event_id": "e-1"}
    done = await shop.post("/usage/record", use)
    assert done.status_code == 201, done.text
    assert [done.json()[name] for name in ("total_cost", "unit_price", "meter")] == [
        "24.00", "12.00", "operations",
    ]  # fmt: skip
    named: dict[str, Any] = {"product_id": None, "operation": "content_writing"}
    assert (await shop.record("1", **named))["total_cost"] == "10.00"
    held = await hold(shop, "30")
    spent = await shop.record("1", **named, **NO_PLAN_LIMITS, hold_id=held)
    assert (spent["total_cost"], spent["meter"]) == ("10.00", "agent_execution")
    rows = [{"operation": "content_writing", "usage_amount": "1"}] * 2
    assert (await shop.batch(*rows))["recorded"] == 2
    assert await shop.balance() == Decimal(100 - 24 - 10 - 10 - 20)
    short = await shop.record("4", status=402, **named)
    assert (short["required"], short["available"]) == ("40.00", "36.00")
    await put_cost(shop, operation, {"cost": "12", "is_active": False})
    gone = await shop.post("/usage/record", use | {"event_id": "e-2"})
    assert gone.status_code == 404
    summary = await shop.get("/usage/summary")
    assert {one["name"]: one["credits"] for one in summary["by_operation"]} == {
        "content_writing": "40.00", operation: "24.00",
    }  # fmt: skip
    assert (await integrity.examine(shop.api.database, shop.id)).ok


async def test_arriving_credits_pay_one_under_its_name_too(new_shop: NewShop) -> None:
    shop = await new_shop()
    await shop.record("1", product_id=None, operation="assessment", on_insufficient="defer")
    await shop.grant("100")
    async with counted(shop) as connection:
        assert await settle(connection, shop, 1_000) == (1, 1)
    debits = "SELECT reason FROM credit_transactions WHERE account_id = :id AND kind = 'debit'"
    assert await shop.rows(debits) == [("usage: assessment",)]


async def test_a_plan_that_limits_the_meter_pays_first(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    named: dict[str, Any] = {"feature_type": "ai_responses", "operation": "content_writing"}
    covered = await shop.record("1", **named)
    assert (covered["total_cost"], covered["is_included_in_subscription"]) == ("0", True)
    plain = await shop.record("1", service_type="agent_execution", operation="unheard_of")
    assert plain["total_cost"] == "0"
    asked = await shop.record("1", **named, billing_method="subscription_included")
    assert (asked["total_cost"], asked["is_included_in_subscription"]) == ("0", True)
    assert await shop.balance() == 100


@pytest.mark.parametrize("meter", [{}, NO_PLAN_LIMITS])
async def test_a_plan_pays_no_operation_that_it_does_not_cover(
    new_shop: NewShop, meter: dict[str, Any]
) -> None:
    shop = await new_shop("100")
    asked: dict[str, Any] = {
        "operation": "assessment", "usage_amount": "1", "billing_method": "subscription_included",
    } | meter  # fmt: skip
    refused = await shop.post("/usage/record", asked)
    assert (refused.status_code, refused.json()["code"]) == (409, "NOT_INCLUDED")
    (row, _) = (await shop.batch(asked, asked | {"billing_method": None}))["results"]
    assert (row["status"], row["code"]) == ("rejected", "NOT_INCLUDED")
    assert await shop.balance() == 100 - BUILT_IN_COSTS["assessment"]


async def test_without_a_right_to_a_plan_it_pays_no_operation(new_shop: NewShop) -> None:
    shop = await shop_in(new_shop, "unpaid")
    asked = {"operation": "assessment", "usage_amount": "1"}
    by_plan = await shop.post("/usage/record", asked | {"billing_method": "subscription_included"})
    assert (by_plan.status_code, by_plan.json()["code"]) == (403, "NO_ENTITLEMENT")
    assert (await shop.post("/usage/record", asked)).status_code == 201


async def test_an_operation_alone_is_refused_as_any_use_is(new_shop: NewShop) -> None:
    shop = await new_shop("100")
    named: dict[str, Any] = {"product_id": None, "operation": "ai_response"}
    large = await shop.record("2000000000", status=422, **named)
    assert (large["code"], "operations" in large["detail"]) == ("USAGE_TOO_LARGE", True)
    await shop.quota("1", feature_type="operations")
    asked = {"operation": "ai_response", "requested_amount": "1"}
    check = (await shop.post("/quota/check", asked)).json()
    assert (check["allowed"], check["meter"], check["remaining"]) == (True, "operations", "1.00")
    await shop.record("1", **named)
    check = (await shop.post("/quota/check", asked)).json()
    assert (check["allowed"], check["refused_by"]) == (False, "quota")
    over = await shop.post("/usage/record", {"operation": "ai_response", "usage_amount": "1"})
    assert (over.status_code, over.json()["code"]) == (429, "QUOTA_EXCEEDED")
    assert (int(over.headers["Retry-After"]) > 0, over.json()["used"]) == (True, "1.00")
    meter = {"measure": "meter", "feature_type": "operations", "limit": "1"}
    answer = await shop.api.client.put(f"{V1}/usage/budgets", json=meter, headers=shop.headers())
    assert (answer.status_code, answer.json()["used"]) == (200, "1.00")


async def test_without_a_right_to_a_plan_a_check_says_what_a_record_does(
    new_shop: NewShop,
) -> None:
    shop = await shop_in(new_shop, "unpaid")
    for operation, status in (("ai_response", 200), ("unheard_of", 403)):
        named = {"operation": operation, "feature_type": "ai_responses"}
        check = await shop.post("/quota/check", named | {"requested_amount": "1"})
        assert check.status_code == status
        done = await shop.post("/usage/record", named | {"usage_amount": "1"})
        assert done.status_code == {200: 201}.get(status, status)


async def test_both_lists_of_built_in_prices_are_one(new_shop: NewShop) -> None:
    shop = await new_shop()
    for operation, cost in BUILT_IN_COSTS.items():
        (found,) = await shop.rows(f"SELECT credit_cost('{operation}', now())")
        assert found == (cost,), operation
    none = "SELECT credit_cost('unheard_of', now()), credit_cost(NULL, now())"
    assert await shop.rows(none) == [(None, None)]


@pytest.mark.parametrize("meter", [{}, NO_PLAN_LIMITS])
async def test_a_late_use_costs_what_its_operation_cost_then(
    new_shop: NewShop, meter: dict[str, Any]
) -> None:
    shop = await new_shop("1000")
    operation = f"op-{uuid4().hex[:12]}"
    await put_cost(shop, operation, {"cost": "10"})
    before = datetime.now(UTC)
    await put_cost(shop, operation, {"cost": "14"})
    now: dict[str, Any] = {"operation": operation, "usage_amount": "1"} | meter
    late = now | {"occurred_at": before.isoformat()}
    long_ago = now | {"occurred_at": (before - timedelta(days=9)).isoformat()}
    costs = [(await shop.post("/usage/record", one)).json()["total_cost"] for one in (late, now)]
    assert costs == ["10.00", "14.00"]
    assert (await shop.batch(now, late, long_ago))["recorded"] == 3
    records = "SELECT total_amount::integer FROM billing_records WHERE account_id = :id"
    assert sorted(await shop.rows(records)) == [(10,), (10,), (10,), (14,), (14,)]
    assert await shop.balance() == 1000 - 10 - 14 - 14 - 10 - 10
    assert (await integrity.examine(shop.api.database, shop.id)).ok


async def test_an_operation_that_costs_nothing_any_more_costs_what_it_did(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100")
    operation = f"op-{uuid4().hex[:12]}"
    await put_cost(shop, operation, {"cost": "12"})
    priced = datetime.now(UTC)
    await put_cost(shop, operation, {"cost": "12", "is_active": False})
    unpriced = datetime.now(UTC)
    alone: dict[str, Any] = {"operation": operation, "usage_amount": "1"}
    counted = alone | NO_PLAN_LIMITS

    async def cost(use: dict[str, Any], at: datetime | None = None) -> str:
        """The cost of a use, or the code of its refusal."""
        dated = {"occurred_at": at.isoformat()} if at else {}
        answer = (await shop.post("/usage/record", use | dated)).json()
        return str(answer.get("total_cost") or answer["code"])

    assert [await cost(alone, priced), await cost(alone)] == ["12.00", "METER_NOT_FOUND"]
    assert [await cost(counted, priced), await cost(counted)] == ["12.00", "0"]
    asked = {"operation": operation, "requested_amount": "1"}
    check = await shop.post("/quota/check", asked)
    assert (check.status_code, check.json()["code"]) == (404, "METER_NOT_FOUND")
    await put_cost(shop, operation, {"cost": "6"})
    assert [await cost(alone, unpriced), await cost(alone)] == ["METER_NOT_FOUND", "6.00"]
    assert (await shop.post("/quota/check", asked)).status_code == 200
    assert await shop.balance() == 100 - 12 - 12 - 6


async def test_a_claim_of_an_operation_that_costs_nothing_any_more_gets_its_first_answer(
    new_shop: NewShop,
) -> None:
    shop = await new_shop("100")
    operation = f"op-{uuid4().hex[:12]}"
    await put_cost(shop, operation, {"cost": "12"})
    use = {"operation": operation, "requested_amount": "1", "consume": True, "event_id": "e-1"}
    first = await shop.post("/quota/check", use)
    assert (first.status_code, first.json()["allowed"]) == (200, True)
    await put_cost(shop, operation, {"cost": "12", "is_active": False})
    again = await shop.post("/quota/check", use)
    assert (again.status_code, again.json()) == (200, first.json())
    other = await shop.post("/quota/check", use | {"requested_amount": "2"})
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    new = await shop.post("/quota/check", use | {"event_id": "e-2"})
    assert (new.status_code, new.json()["code"]) == (404, "METER_NOT_FOUND")
