"""Advice over HTTP, with the figures it rests on [Q2]."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from billing.ledger.credits import service as credits
from billing.metering.usage import store as usage_store
from billing.money.discounts import store as discount_store
from billing.money.discounts.schemas import Discount
from billing.money.subscriptions import store as subscriptions
from billing.money.subscriptions.schemas import Commitment
from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.holds_made import HOLDS, hold
from tests.integration.usage.shops_on_plans import move_clock

NOW = datetime(2027, 1, 10, 12, tzinfo=UTC)


async def test_a_plan_that_fits_better_is_named_after_a_whole_cycle(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await shop.record("40", feature_type="ai_responses")
    assert (await shop.get("/usage/recommendations"))["data"] == []
    await move_clock(shop, days=25)
    await shop.record("1", feature_type="ai_responses")
    (found,) = (await shop.get("/usage/recommendations"))["data"]
    assert (found["kind"], found["plan"], found["current_plan"], found["cycles"]) == (
        "cheaper_plan", "free", "basic", 1,
    )  # fmt: skip
    assert (found["cost"], found["saving"]) == ("0", found["current_cost"])
    assert found["units"] == {"ai_responses": "40.00"}
    assert found["gives_up"]


async def test_a_larger_plan_is_named_to_whom_overage_cost_more(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await shop.record("5400", feature_type="ai_responses")
    await move_clock(shop, days=25)
    await shop.record("1", feature_type="ai_responses")
    (found,) = (await shop.get("/usage/recommendations"))["data"]
    assert (found["plan"], found["current_cost"], found["cost"]) == ("pro", "117.00", "55.00")


async def test_a_plan_whose_minimum_makes_it_dearer_is_not_advised(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    family = f"m{uuid4().hex[:10]}"
    await _sell(shop, family, "had", {"amount_minor": 2000}, "ai_responses")
    least = {"amount_minor": 1000, "minimum_minor": 5000}
    await _sell(shop, family, "least", least, "ai_responses")
    await shop.subscribe(f"{family}-had")
    await shop.record("40", feature_type="ai_responses")
    await move_clock(shop, days=25)
    await shop.record("1", feature_type="ai_responses")
    assert (await shop.get("/usage/recommendations"))["data"] == []


async def test_another_plan_is_compared_at_the_price_that_a_contract_agrees(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    family = f"m{uuid4().hex[:10]}"
    for key, price in (("had", 2000), ("listed", 1000), ("agreed", 9000)):
        await _sell(shop, family, key, {"amount_minor": price}, "ai_responses")
    await shop.subscribe(f"{family}-had")
    await shop.record("40", feature_type="ai_responses")
    await move_clock(shop, days=25)
    await shop.record("1", feature_type="ai_responses")
    prices = [
        {"plan": f"{family}-{key}", "currency": "USD", "amount_cents": price}
        for key, price in (("listed", 3000), ("agreed", 1500))
    ]
    answer = await shop.api.client.put(
        f"/api/v1/admin/accounts/{shop.account['id']}/contract",
        json={"prices": prices},
        headers=shop.api.admin(),
    )
    assert answer.status_code == 200, answer.text
    (found,) = (await shop.get("/usage/recommendations"))["data"]
    assert (found["plan"], found["cost"]) == (f"{family}-agreed", "15.00")


async def _sell(shop: Shop, family: str, key: str, price: dict[str, int], *meters: str) -> None:
    """Sell a plan that includes 100 units of each meter."""
    limits = [{"meter": meter, "included": "100"} for meter in meters]
    terms = {
        "family": family, "name": key, "limits": limits, "prices": {"month": {"USD": price}},
    }  # fmt: skip
    answer = await shop.api.client.put(
        f"/api/v1/admin/plans/{family}-{key}", json=terms, headers=shop.api.admin()
    )
    assert answer.status_code == 200, answer.text


async def test_a_plan_under_which_credits_would_pay_for_the_use_is_not_advised(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    family = f"m{uuid4().hex[:10]}"
    await _sell(shop, family, "had", {"amount_minor": 2000}, "ai_responses", "model_inference")
    await _sell(shop, family, "bare", {"amount_minor": 1000})
    await shop.subscribe(f"{family}-had")
    await shop.record("40", feature_type="ai_responses")
    await move_clock(shop, days=25)
    await shop.record("40")
    (found,) = (await shop.get("/usage/recommendations"))["data"]
    assert found["plan"] == f"{family}-bare", "only plans pay for ai_responses"
    await move_clock(shop, days=28)
    await shop.record("40")
    assert (await shop.get("/usage/recommendations"))["data"] == []


async def test_neither_a_trial_nor_a_cut_cycle_nor_an_unpaid_one_is_compared(
    new_shop: NewShop,
) -> None:
    month = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
    for start, end, fields in (
        (*month, {"trial_end": month[1]}),
        (datetime(2027, 1, 8, tzinfo=UTC), month[1], {}),
        (*month, {"status": "unpaid"}),
    ):
        shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
        await shop.subscribe("basic", start=start, end=end)
        await shop.record("40", feature_type="ai_responses")
        await _change(shop, anchor_wall=month[0].replace(tzinfo=None), **fields)
        for days in (0, 25):
            await move_clock(shop, days=days)
            async with shop.api.database.operator() as connection:
                await usage_store.follow(connection, shop.id, NOW + timedelta(days=days))
        await _change(shop, status="active")
        assert (await shop.get("/usage/recommendations"))["data"] == [], fields


async def test_no_plan_is_named_to_whom_a_commitment_charges_the_rest(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await shop.record("40", feature_type="ai_responses")
    await move_clock(shop, days=25)
    await shop.record("1", feature_type="ai_responses")
    assert len((await shop.get("/usage/recommendations"))["data"]) == 1
    ends = NOW + timedelta(days=300)
    agreed = Commitment(
        amount_minor=500_000, periods=12, on_early_end="charge", since=NOW, ends_at=ends
    )
    await _change(shop, commitment=agreed.model_dump(mode="json"))
    assert (await shop.get("/usage/recommendations"))["data"] == []


async def _change(shop: Shop, **fields: Any) -> None:
    """Change the row alone."""
    async with shop.api.database.operator() as connection:
        found = await subscriptions.find_open(connection, shop.id)
        assert found is not None
        await subscriptions.change(connection, found.id, **fields)


async def test_no_plan_is_named_to_whom_a_coupon_makes_his_own_cheaper(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await shop.subscribe("basic")
    await shop.record("40", feature_type="ai_responses")
    await move_clock(shop, days=25)
    await shop.record("1", feature_type="ai_responses")
    assert len((await shop.get("/usage/recommendations"))["data"]) == 1
    await _discount(shop)
    assert (await shop.get("/usage/recommendations"))["data"] == []


async def _discount(shop: Shop) -> None:
    """Take half off the subscription's invoices, for ever."""
    code = f"C{uuid4().hex[:10].upper()}"
    made = await shop.api.client.post(
        "/api/v1/admin/coupons",
        json={"code": code, "name": "Half", "percent": "50", "duration": "forever"},
        headers=shop.api.admin(),
    )
    assert made.status_code == 201, made.text
    async with shop.api.database.operator() as connection:
        coupon = await connection.scalar(
            text("SELECT id FROM coupons WHERE code = :code"), {"code": code}
        )
        subscription = await subscriptions.find_open(connection, shop.id)
        assert coupon
        assert subscription
        discount = Discount(
            id=uuid4(), account_id=shop.id, coupon_id=coupon, subscription_id=subscription.id,
            code=code, percent=Decimal(50), status="active", created_at=NOW,
        )  # fmt: skip
        await discount_store.add(connection, discount)


async def test_credits_of_one_scope_are_not_judged_by_the_use_of_all(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    async with shop.api.database.tenant(shop.id) as connection:
        for scope in (None, "chat"):
            await credits.grant(
                connection, account_id=shop.id, amount=Decimal(50), kind="adjustment",
                key=f"expires/{scope}", is_paid=False, reason="a gift", scope=scope,
                expires_at=NOW + timedelta(days=10),
            )  # fmt: skip
    await _spend_daily(shop)
    (found,) = (await shop.get("/usage/recommendations"))["data"]
    assert (found["left"], found["expiring"]) == ("46.00", "26.00")


async def _spend_daily(shop: Shop) -> None:
    """Spend 2 credits a day since the day before yesterday."""
    for days in (2, 1):
        await shop.record("1000", occurred_at=(NOW - timedelta(days=days)).isoformat())


async def test_credits_that_nobody_will_have_used_are_told_in_time(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=NOW.isoformat())
    await _give(shop, "50")
    (found,) = (await shop.get("/usage/recommendations"))["data"]
    assert (found["expiring"], found["daily_use"]) == ("50.00", "0"), "nothing was ever used"
    await _spend_daily(shop)
    (found,) = (await shop.get("/usage/recommendations"))["data"]
    assert (found["left"], found["expiring"], found["daily_use"]) == ("46.00", "26.00", "2.00")
    assert found["kind"] == "credits_expiring"


async def test_captures_and_uses_use_up_credits_alike(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at=(NOW - timedelta(days=2)).isoformat())
    await _give(shop, "500")
    seen = []
    for _ in range(3):
        path = f"{HOLDS}/{await hold(shop, '30')}/capture"
        assert (await shop.post(path, {"amount": "30", "reason": "render"})).is_success
        seen.append((await shop.get("/usage/recommendations"))["data"])
        await move_clock(shop, days=1)
    assert seen[:2] == [[], []], "no whole day of use is known yet"
    (found,) = seen[2]
    assert (found["left"], found["daily_use"], found["expiring"]) == ("410.00", "30.00", "110.00")


async def _give(shop: Shop, amount: str) -> None:
    """Grant credits that expire in ten days."""
    async with shop.api.database.tenant(shop.id) as connection:
        await credits.grant(
            connection, account_id=shop.id, amount=Decimal(amount), kind="adjustment",
            key=f"expires/{uuid4()}", is_paid=False, reason="a gift",
            expires_at=NOW + timedelta(days=10),
        )  # fmt: skip
