"""Plans sold for nothing renew nothing, neither the credits nor the units of their month; only a
new subscription begins anew by a coupon, as often as the account may redeem it.
"""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.arrears.contract_terms import agree
from tests.integration.changes.chosen_plans import PATH, begun_by_card, change
from tests.integration.coupons.coupons_made import CLOCK, coupon
from tests.integration.credits.test_rollover import spend
from tests.integration.money_seen import money

FREE: dict[str, Any] = {"percent": "100", "duration": "forever"}
NOW = {"at": "now"}


async def sold(actors: Actors, credits: int, dollars: int, **more: Any) -> str:
    """A plan with these credits, and ten times as many answers, at this price a month."""
    key = f"n{credits}-{uuid4().hex[:8]}"
    limit = {"meter": "ai_responses", "included": str(credits * 10), "then": "block"}
    prices = {"month": {"USD": dollars * 100}, "year": {"USD": dollars * 1000}}
    terms = {
        "family": "nothing", "name": "N", "limits": [limit], "monthly_credits": str(credits),
        "prices": prices,
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", terms | more)
    return key


async def use_up(customer: Customer) -> None:
    """Spend all credits, and use all answers, that there are."""
    there = await customer.credits()
    if there:
        await spend(customer, there)
    await use_answers(customer)


async def use_answers(customer: Customer) -> None:
    seen = (await customer.ask("GET", "/usage/current"))["meters"]["ai_responses"]
    left = Decimal(seen["remaining"])
    if left > 0:
        body = {"feature_type": "ai_responses", "usage_amount": str(left)}
        await customer.ask("POST", "/usage/record", body, status=201)


async def had(customer: Customer) -> tuple[int, int]:
    """Credits granted, and answers used: to whole ones, for some seconds have passed."""
    (row,) = await customer.rows(
        "SELECT (SELECT sum(amount - clawed) FROM credit_lots"
        " WHERE account_id = %(me)s) AS credits,"
        " (SELECT sum(usage_amount) FROM usage_records WHERE account_id = %(me)s) AS answers"
    )
    return round(row["credits"]), round(row["answers"])


async def trip(customer: Customer, second: int, **wish: Any) -> None:
    await step(customer, second, **wish)
    await use_up(customer)


async def step(customer: Customer, second: int, **wish: Any) -> None:
    await customer.advance(to=f"2027-01-01T10:00:{second:02}Z")
    await change(customer, at="now", **wish)


async def has_clean_books(customer: Customer) -> bool:
    report = await customer.actors.operate("GET", f"/admin/integrity?account={customer.id}")
    return bool(report["ok"])


async def is_refused(customer: Customer, **wish: Any) -> None:
    await customer.refused("CREDITS_SPENT", "PUT", PATH, wish | {"at": "now"})


@pytest.mark.parametrize("way", ["goes on", "by the year", "paused"])
async def test_a_plan_under_a_coupon_brings_one_month_and_goes_down_unspent(
    actors: Actors, way: str
) -> None:
    low, high = await sold(actors, 100, 10), await sold(actors, 300, 30)
    customer = await begun_by_card(actors, low, coupon=await coupon(actors, **FREE))
    await use_up(customer)
    await trip(customer, 1, plan=high)
    assert await had(customer) == (300, 3000)
    await is_refused(customer, plan=low)
    if way == "by the year":
        await trip(customer, 5, interval="year")
    elif way == "paused":
        await customer.ask("POST", f"{PATH}/pause", NOW, status=200)
        await customer.advance(to="2027-01-01T10:00:05Z")
        await customer.ask("POST", f"{PATH}/resume", status=200)
        await use_up(customer)
    assert await had(customer) == (300, 3000)
    await is_refused(customer, plan=low)
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert await customer.credits() == 300, "the next month has its own"


@pytest.mark.parametrize("only_high", [False, True])
async def test_used_units_of_a_plan_under_a_coupon_come_once(
    actors: Actors, only_high: bool
) -> None:
    low, high = await sold(actors, 100, 10), await sold(actors, 300, 30)
    more = {"sold": [high]} if only_high else {}
    customer = await begun_by_card(actors, high, coupon=await coupon(actors, **FREE, **more))
    await use_answers(customer)
    for second in range(1, 5):
        await step(customer, second, plan=(high, low)[second % 2])
        await use_answers(customer)
    assert await had(customer) == (300, 3000)
    paid = sum(one["amount"] for one in await customer.effects())
    assert paid == await money(customer) == (1000 if only_high else 0)


async def test_seats_that_come_under_a_coupon_go_unspent(actors: Actors) -> None:
    seats = {"least": 1, "most": 20, "credits": True, "limits": True}
    plan = await sold(actors, 10, 10, seats=seats)
    customer = await begun_by_card(actors, plan, coupon=await coupon(actors, **FREE))
    for second, number in enumerate((20, 1, 20), start=1):
        await step(customer, second, quantity=number)
        await use_answers(customer)
    await use_up(customer)
    assert await had(customer) == (200, 2000)
    await is_refused(customer, quantity=1)


async def test_another_interval_for_nothing_brings_the_month_once(actors: Actors) -> None:
    plan = await sold(actors, 100, 10)
    customer = await begun_by_card(actors, plan, coupon=await coupon(actors, **FREE))
    await use_up(customer)
    for second, interval in enumerate(("year", "month", "year"), start=1):
        await trip(customer, second, interval=interval)
    assert await had(customer) == (100, 1000)


async def test_a_plan_under_a_coupon_goes_unspent_for_a_paid_one(actors: Actors) -> None:
    low, high = await sold(actors, 100, 10), await sold(actors, 300, 30)
    customer = await begun_by_card(actors, high, coupon=await coupon(actors, sold=[high], **FREE))
    await use_up(customer)
    await is_refused(customer, plan=low)


async def test_paid_time_that_was_used_keeps_its_credits_before_a_free_plan(
    actors: Actors,
) -> None:
    dear, free = await sold(actors, 300, 30), await sold(actors, 50, 0)
    customer = await begun_by_card(actors, dear)
    await use_answers(customer)
    await step(customer, 1, plan=free)
    assert (await money(customer), (await had(customer))[0]) == (0, 350)


async def test_free_plans_bring_their_credits_once_a_month(actors: Actors) -> None:
    small, same = [await sold(actors, 50, 0) for _ in range(2)]
    customer = await begun_by_card(actors, small)
    await use_up(customer)
    await customer.advance(to="2027-01-01T11:00:00Z")
    for wish in ({"plan": same}, {"plan": small}, {"interval": "year"}):
        await change(customer, at="now", **wish)
    assert await had(customer) == (50, 500)
    for day, interval in ((2, "month"), (9, "year"), (19, "month")):
        await customer.advance(to=f"2027-01-{day:02}T11:00:00Z")
        await change(customer, at="now", interval=interval)
    assert await had(customer) == (50, 500), "no share of the time that has passed either"


@pytest.mark.parametrize("agreed", [False, True])
async def test_a_larger_plan_without_a_price_brings_once_what_it_has_more(
    actors: Actors, agreed: bool
) -> None:
    small, large = [await sold(actors, many, 10 * agreed) for many in (50, 200)]
    customer = await actors.customer_on_clock(CLOCK)
    if agreed:
        price = {"interval": "month", "currency": "USD", "amount_cents": 0}
        await agree(customer, prices=[price | {"plan": plan} for plan in (small, large)])
    await customer.subscribe(small)
    await use_up(customer)
    await trip(customer, 1, plan=large)
    assert await had(customer) == (200, 2000)
    await is_refused(customer, plan=small)


async def test_credits_of_a_change_for_nothing_count_for_its_own_cycle(actors: Actors) -> None:
    small, large = await sold(actors, 1000, 10), await sold(actors, 2000, 20)
    customer = await actors.customer_on_clock("2027-01-20T10:00:00Z")
    price = {"interval": "month", "currency": "USD", "amount_cents": 0}
    await agree(customer, prices=[price | {"plan": plan} for plan in (small, large)])
    await customer.subscribe(small)
    await customer.advance(to="2027-02-05T10:00:00Z")
    await change(customer, at="now", plan=large)
    await customer.advance(to="2027-02-20T11:00:00Z")
    assert await customer.credits() == 2000
    assert await has_clean_books(customer)


async def test_another_free_subscription_brings_only_what_it_has_more(actors: Actors) -> None:
    small, same, large = [await sold(actors, many, 0) for many in (50, 50, 200)]
    customer = await begun_by_card(actors, small)
    for second, (plan, granted) in enumerate(((same, 50), (large, 200), (small, 200)), start=1):
        await use_up(customer)
        await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
        await customer.advance(to=f"2027-01-01T10:00:0{second}Z")
        await customer.subscribe(plan)
        assert (await had(customer))[0] == granted
        assert await has_clean_books(customer)
    await customer.advance(to="2027-02-02T10:00:00Z")
    assert await customer.credits() == 50


@pytest.mark.parametrize("day", [1, 20])
async def test_a_free_plan_after_a_paid_one_brings_its_month_once(actors: Actors, day: int) -> None:
    small, dear = await sold(actors, 50, 0), await sold(actors, 100, 10)
    customer = await begun_by_card(actors, small)
    await use_up(customer)
    await trip(customer, 1, plan=dear)
    granted, _ = await had(customer)
    assert granted == 50 + 100, "a price buys all credits, after spent ones that cost nothing"
    await customer.advance(to=f"2027-01-{day:02}T10:00:02Z")
    await change(customer, at="now", plan=small)
    assert (await had(customer))[0] == granted


@pytest.mark.parametrize("goes_on", [True, False])
async def test_the_units_of_a_cycle_that_is_cut_under_a_coupon_are_not_sold_anew(
    actors: Actors, goes_on: bool
) -> None:
    plan = await sold(actors, 310, 10)
    customer = await begun_by_card(actors, plan, coupon=await coupon(actors, **FREE))
    for day, interval in ((2, "year"), (4, "month" if goes_on else "year")):
        await use_answers(customer)
        await end_in_a_day(customer, day, interval=interval)
        await customer.ask("POST", f"{PATH}/reactivate", status=200)
        if not goes_on:
            await change(customer, at="period_end", interval="month")
        await customer.advance(to=f"2027-01-{day + 1:02}T11:00:00Z")
    await use_answers(customer)
    assert (await had(customer))[1] == 3100
    await customer.advance(to="2027-02-05T11:00:00Z")
    await use_answers(customer)
    assert (await had(customer))[1] == 2 * 3100, "the next month has its own"


async def end_in_a_day(customer: Customer, day: int, **wish: Any) -> None:
    """Begin a new period that the end cuts to a day."""
    await customer.advance(to=f"2027-01-{day:02}T10:00:00Z")
    end = {"cancel_at": f"2027-01-{day + 1:02}T10:00:00Z"}
    await customer.ask("POST", f"{PATH}/cancel", end, status=200)
    await change(customer, at="now", **wish)


async def test_credits_of_a_cycle_that_is_cut_under_a_coupon_are_not_sold_anew(
    actors: Actors,
) -> None:
    plan = await sold(actors, 310, 10)
    customer = await begun_by_card(actors, plan, coupon=await coupon(actors, **FREE))
    await end_in_a_day(customer, 2, interval="year")
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    await customer.advance(to="2027-01-03T11:00:00Z")
    assert round(await customer.credits()) == 310
    await spend(customer, await customer.credits())
    end = {"cancel_at": "2027-01-05T10:00:00Z"}
    await customer.ask("POST", f"{PATH}/cancel", end, status=200)
    await is_refused(customer, interval="month")


async def test_what_a_plan_for_nothing_gives_while_its_change_waits_comes_once(
    actors: Actors,
) -> None:
    low, high = await sold(actors, 100, 10), await sold(actors, 300, 30)
    customer = await begun_by_card(actors, low, coupon=await coupon(actors, sold=[low], **FREE))
    for second in (1, 3):
        await customer.advance(to=f"2027-01-01T10:00:{second:02}Z")
        wish = {"plan": high, "interval": "year", "payment_method": "card", "use_balance": False}
        asked = await change(customer, at="now", **wish)
        await use_up(customer)
        await customer.pay(asked)
        await until_plan(customer, high)
        assert (await had(customer))[0] == 300
        await step(customer, second + 1, plan=low, interval="month")
        assert ((await had(customer))[0], await money(customer)) == (100, (second + 1) * 15000)


async def until_plan(customer: Customer, plan: str) -> None:
    await wait_for(customer.subscription, f"it is {plan}", lambda seen: seen["plan"]["key"] == plan)


async def test_a_new_subscription_under_a_coupon_begins_anew_once_for_each_redemption(
    actors: Actors,
) -> None:
    plan = await sold(actors, 100, 10)
    code = await coupon(actors, percent="100", max_per_account=2)
    customer = await begun_by_card(actors, plan, coupon=code)
    await use_up(customer)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    await customer.advance(to="2027-01-01T10:00:05Z")
    await customer.subscribe(plan, coupon=code)
    await use_up(customer)
    assert await had(customer) == (200, 2000)
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    await customer.advance(to="2027-01-01T10:00:09Z")
    third = {"plan": plan, "trial": False, "coupon": code}
    refused = await customer.refused("INVALID_COUPON", "POST", PATH, third)
    assert refused["reason"] == "redeemed"
    assert await has_clean_books(customer)
