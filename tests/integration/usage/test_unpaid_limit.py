"""A plan's unpaid limit bounds the use that its account does not pay."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import text

from billing.catalog.plans.rules import DEFAULT_CURRENCY
from billing.catalog.plans.spec import PlanSpec
from tests.integration.catalog.subscribing import change
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.shops_on_plans import move_clock
from tests.integration.usage.test_agreed_limits import agree, move, strict

NOW: Final = datetime(2027, 1, 10, 12, tzinfo=UTC)
AI: Final[dict[str, Any]] = {"feature_type": "ai_responses"}
LATER: Final[dict[str, Any]] = {"on_insufficient": "defer"}


async def past_due(new_shop: NewShop, policy: str = "full", **limit: int) -> Shop:
    """A shop past due on basic, 500 AI responses used; 0.02 USD for each beyond."""
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await shop.record("500", **AI)
    plan = await strict(shop, policy)
    async with shop.api.database.operator() as connection:
        await connection.execute(
            text("UPDATE plans SET unpaid_limit = CAST(:limit AS jsonb) WHERE id = :id"),
            {"limit": str(limit).replace("'", '"'), "id": plan},
        )
    await move(shop, "past_due", plan)
    return shop


async def test_overage_while_past_due_ends_at_the_unpaid_limit(new_shop: NewShop) -> None:
    shop = await past_due(new_shop)
    assert (await shop.record("4000", **AI))["total_cost"] == "80.00"
    refused = await shop.record("1001", status=402, **AI)
    assert (refused["code"], refused["unpaid"], refused["limit"], refused["currency"]) == (
        "UNPAID_LIMIT", "80.00", "100.00", "USD",
    )  # fmt: skip
    rows = [{"usage_amount": n} | AI for n in ("600", "600", "400")]
    done = await shop.batch(*rows)
    assert [row.get("code") for row in done["results"]] == [None, "UNPAID_LIMIT", None]
    await shop.record("1", status=402, **AI)


async def test_overage_dated_to_before_it_became_unpaid_ends_at_the_unpaid_limit(
    new_shop: NewShop,
) -> None:
    shop = await past_due(new_shop)
    await move_clock(shop, hours=1)
    ((plan,),) = await shop.rows("SELECT plan_id FROM subscriptions WHERE account_id = :id")
    await move(shop, "unpaid", plan)
    then = AI | {"occurred_at": NOW.isoformat()}
    refused = await shop.record("5001", status=402, **then)
    assert (refused["code"], refused["unpaid"]) == ("UNPAID_LIMIT", "0")
    assert (await shop.record("5000", **then))["total_cost"] == "100.00"
    await shop.record("1", status=402, **then)


async def test_overage_of_two_cycles_in_one_batch_meets_one_unpaid_limit(
    new_shop: NewShop,
) -> None:
    shop = await past_due(new_shop)
    await move_clock(shop, days=25)
    late = {"usage_amount": "4000", "occurred_at": NOW.isoformat()} | AI
    done = await shop.batch(late, {"usage_amount": "5000"} | AI, {"usage_amount": "500"} | AI)
    assert [row.get("code") for row in done["results"]] == [None, "UNPAID_LIMIT", None]


async def test_overage_by_tier_meets_the_unpaid_limit_at_what_each_use_adds(
    new_shop: NewShop,
) -> None:
    shop = await past_due(new_shop)
    tiers = [{"up_to": "100", "unit_price": "0.90"}, {"unit_price": "0.01"}]
    terms = {"model": "graduated", "tiers": tiers}
    await agree(shop, included="500", then="overage", prices={"USD": terms})
    assert (await shop.record("100", **AI))["total_cost"] == "90.00"
    refused = await shop.record("1001", status=402, **AI)
    assert (refused["code"], refused["unpaid"]) == ("UNPAID_LIMIT", "90.00")
    rows = [{"usage_amount": n} | AI for n in ("600", "600", "400")]
    done = await shop.batch(*rows)
    assert [row.get("code") for row in done["results"]] == [None, "UNPAID_LIMIT", None]


async def test_a_plan_may_set_its_own_unpaid_limit(new_shop: NewShop) -> None:
    shop = await past_due(new_shop, USD=200)
    await shop.record("101", status=402, **AI)
    await shop.record("100", **AI)


async def test_what_holds_by_default_is_so_in_sql_as_in_python_and_in_the_catalogs_words(
    new_shop: NewShop,
) -> None:
    shop = await new_shop()
    ((currency, limit),) = await shop.rows(
        "SELECT currency_by_default(), unpaid_limit"
        " FROM usage_unpaid(CAST(:id AS uuid), 'infinity', false)"
    )
    assert currency == DEFAULT_CURRENCY
    said = " ".join((PlanSpec.model_fields["unpaid_limit"].description or "").split())
    assert f"default: {limit} whole currency units" in said


async def test_a_limit_is_told_to_the_smallest_unit_of_its_currency(new_shop: NewShop) -> None:
    shop = await past_due(new_shop, KWD=1555)
    async with shop.api.database.operator() as connection:
        await change(connection, shop.id, currency="KWD")
    await shop.record("777", **LATER)
    refused = await shop.record("1", status=402, **LATER)
    assert (refused["unpaid"], refused["limit"], refused["currency"]) == ("1.554", "1.555", "KWD")
    assert "the unpaid limit is 1.555 KWD" in refused["detail"]


async def test_past_due_gives_no_new_overage_by_default(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await shop.record("501", **AI)
    ((plan,),) = await shop.rows("SELECT plan_id FROM subscriptions WHERE account_id = :id")
    await move(shop, "past_due", plan)
    refused = await shop.record("1", status=429, **AI)
    assert (refused["code"], refused["refused_by"]) == ("QUOTA_EXCEEDED", "plan")
    assert (await shop.get("/billing/entitlements"))["access"] == "no_new_overage"
    shown = (await shop.get("/billing/entitlements/ai_responses"))["limit"]
    assert (shown["then"], shown["prices"]) == ("block", {})


async def test_uses_put_off_end_at_the_unpaid_limit(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    first = await shop.record("30000", **LATER)
    assert (first["billing_status"], first["total_cost"]) == ("pending", "60.00")
    refused = await shop.record("20001", status=402, **LATER)
    assert (refused["code"], refused["unpaid"]) == ("UNPAID_LIMIT", "60.00")
    rows: list[dict[str, Any]] = [
        {"usage_amount": n, "product_id": "gpt-4"} | LATER for n in ("15000", "15000", "5000")
    ]
    done = await shop.batch(*rows)
    assert [row.get("code") for row in done["results"]] == [None, "UNPAID_LIMIT", None]
    assert done["results"][1]["detail"] == "this use would exceed the plan's unpaid limit"
    await shop.grant("60")
    answer = await shop.post("/billing/process", {"billing_id": first["billing_id"]})
    assert answer.json()["billing_status"] == "completed", answer.text
    again = await shop.record("30000", **LATER)
    assert again["billing_status"] == "pending"


async def test_a_use_that_failed_to_be_paid_counts_too(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    owed = await shop.record("50000", **LATER)
    answer = await shop.post("/billing/process", {"billing_id": owed["billing_id"]})
    assert answer.status_code == 402, answer.text
    refused = await shop.record("1", status=402, **LATER)
    assert (refused["code"], refused["unpaid"]) == ("UNPAID_LIMIT", "100.00")
    card = {"billing_method": "payment_charge", "event_id": "card-1"}
    assert (await shop.record("1000", status=402, **card))["code"] == "UNPAID_LIMIT"
    short = await shop.record("1", status=402)
    assert short["code"] == "INSUFFICIENT_CREDITS"


async def test_a_member_puts_no_payment_off(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    use = {"usage_amount": "1000", "product_id": "gpt-4"} | LATER
    answer = await shop.post("/usage/record", use, "member")
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    answer = await shop.post("/usage/batch", {"events": [use]}, "member")
    assert [row["code"] for row in answer.json()["results"]] == ["FORBIDDEN"]
    assert (await shop.record("1000", **LATER))["billing_status"] == "pending"
