"""Forecasts over HTTP: from days that were to the cycle's end, in units, credits and money [Q6]."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.usage.conftest import NewShop, Shop
from tests.integration.usage.holds_made import HOLDS, hold
from tests.integration.usage.shops_on_plans import move_clock
from tests.integration.usage.test_agreed_limits import agree, end

# A Saturday, ten days before the month ends.
NOW = datetime(2027, 5, 22, tzinfo=UTC)


async def begin(shop: Shop, at: datetime) -> None:
    """The day of the first use is no history: it may have been an hour."""
    await shop.record("1", feature_type="chat_messages", occurred_at=at.isoformat())


async def test_ten_even_days_go_on_for_ten_more(new_shop: NewShop) -> None:
    shop = await new_shop("1000", is_test=True, clock_at=NOW.isoformat())
    for days in range(1, 11):
        await shop.record("1000", occurred_at=(NOW - timedelta(days=days)).isoformat())
    found = await shop.get("/usage/forecast")
    assert (found["period_end"], found["as_of"]) == ("2027-06-01T00:00:00Z", "2027-05-22T00:00:00Z")
    assert (found["history_days"], found["method"]) == (9, "weekday_mean")
    assert found["meters"]["model_inference"] == {
        "used": "10000.00", "expected": "20000.00", "low": "20000.00", "high": "20000.00",
        "included": None, "used_before": "0", "expected_overage": None,
    }  # fmt: skip
    assert found["cost"]["credits"] == {
        "used": "20.00", "expected": "40.00", "low": "40.00", "high": "40.00",
    }  # fmt: skip
    assert found["cost"]["overage"]["currency"] is None


async def test_what_goes_beyond_the_plan_is_forecast_in_money(new_shop: NewShop) -> None:
    now = datetime(2027, 1, 11, tzinfo=UTC)  # of a cycle that ends with January
    shop = await new_shop(is_test=True, clock_at=now.isoformat())
    await shop.subscribe("basic")
    await begin(shop, now - timedelta(days=5))
    earlier = (now - timedelta(days=4)).isoformat()
    await shop.record("400", feature_type="ai_responses", occurred_at=earlier)
    before = (await shop.get("/usage/forecast"))["cost"]["overage"]
    assert (before["used"], before["currency"]) == ("0", "USD")
    await shop.record("200", feature_type="ai_responses")
    found = await shop.get("/usage/forecast")
    meter, money = found["meters"]["ai_responses"], found["cost"]["overage"]
    assert (meter["used"], meter["included"]) == ("600.00", "500.00")
    assert money["used"] == "2.00"
    # 100 a day, on four days that were and for 21 days to come, and 200 today.
    assert (meter["expected"], meter["expected_overage"]) == ("2700.00", "2200.00")
    assert (money["expected"], float(money["low"]) >= 2) == ("44.00", True)


async def test_a_price_by_tier_goes_on_in_the_forecast(new_shop: NewShop) -> None:
    now = datetime(2027, 1, 11, tzinfo=UTC)
    shop = await new_shop(is_test=True, clock_at=now.isoformat())
    await shop.subscribe("basic")
    tiers = [{"up_to": "100", "unit_price": "0.02"}, {"unit_price": "0.01", "flat_price": "5"}]
    terms = {"model": "graduated", "tiers": tiers}
    await agree(shop, included="500", then="overage", prices={"USD": terms})
    await begin(shop, now - timedelta(days=5))
    earlier = (now - timedelta(days=4)).isoformat()
    await shop.record("400", feature_type="ai_responses", occurred_at=earlier)
    await shop.record("200", feature_type="ai_responses")
    found = await shop.get("/usage/forecast")
    assert found["meters"]["ai_responses"]["expected_overage"] == "2200.00"
    money = found["cost"]["overage"]
    assert (money["used"], money["expected"]) == ("2.00", "28.00")


async def test_what_was_used_under_a_limit_that_has_ended_is_on_the_next_invoice(
    new_shop: NewShop,
) -> None:
    shop = await new_shop(is_test=True, clock_at=datetime(2027, 1, 11, tzinfo=UTC).isoformat())
    await shop.subscribe("basic")
    await agree(shop, "chat_messages", included="10", then="overage", prices={"USD": "0.50"})
    await shop.record("14", feature_type="chat_messages")
    await end(shop, "chat_messages")
    found = await shop.get("/usage/forecast")
    assert found["meters"]["chat_messages"]["included"] is None
    assert found["cost"]["overage"]["used"] == "2.00"


async def test_nobody_who_used_nothing_is_promised_anything(new_shop: NewShop) -> None:
    shop = await new_shop()
    found = await shop.get("/usage/forecast")
    of_units = [meter for key, meter in found["meters"].items() if key != "storage_gb"]
    assert {(one["used"], one["low"]) for one in of_units} == {("0", "0")}
    assert {(one["expected"], one["high"]) for one in of_units} == {(None, None)}
    assert found["meters"]["storage_gb"]["expected"] == "0", "a level stays where it is"
    assert found["history_days"] == 0
    assert found["cost"]["credits"]["high"] is None


async def test_a_first_day_is_no_history(new_shop: NewShop) -> None:
    shop = await new_shop(is_test=True, clock_at="2027-03-01T09:00:00Z")
    await shop.subscribe("basic")
    await shop.record("100", feature_type="ai_responses")
    found = await shop.get("/usage/forecast")
    meter, money = found["meters"]["ai_responses"], found["cost"]["overage"]
    assert (meter["used"], meter["low"]) == ("100.00", "100.00")
    assert (meter["expected"], meter["high"], meter["expected_overage"]) == (None, None, None)
    assert (money["used"], money["expected"], money["currency"]) == ("0", None, "USD")


async def test_a_level_is_expected_to_stay(new_shop: NewShop) -> None:
    shop = await new_shop("100", is_test=True, clock_at=NOW.isoformat())
    paid: dict[str, Any] = {"product_id": "storage", "billing_method": "credit_consumption"}
    await shop.record("5", occurred_at=(NOW - timedelta(days=3)).isoformat(), **paid)
    await shop.record("7", **paid)
    meter = (await shop.get("/usage/forecast"))["meters"]["storage_gb"]
    assert (meter["used"], meter["expected"], meter["high"]) == ("7.00", "7.00", "7.00")


async def test_captures_of_holds_are_spent_and_go_on_like_uses(new_shop: NewShop) -> None:
    start = datetime(2027, 5, 19, 23, 30, tzinfo=UTC)  # in Berlin already the 20th
    shop = await new_shop("1000", is_test=True, clock_at=start.isoformat(), zone="Europe/Berlin")
    for _ in range(3):
        path = f"{HOLDS}/{await hold(shop, '50')}/capture"
        assert (await shop.post(path, {"amount": "50", "reason": "render"})).is_success
        await move_clock(shop, days=1)
    await move_clock(shop, hours=-1, minutes=-30)
    found = await shop.get("/usage/forecast")
    assert (found["as_of"], found["history_days"]) == ("2027-05-22T22:00:00Z", 2)
    cost = found["cost"]["credits"]
    assert (cost["used"], cost["expected"]) == ("150.00", "600.00"), "9 days are to come"
