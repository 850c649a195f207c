"""An active subscription for which no money came yet leaves no more unpaid than a trial does."""

from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.overage_uses import START, use
from tests.integration.arrears.test_unpaid_overage import TOO_MUCH, refused


async def coupon(actors: Actors, percent: str) -> str:
    """The code of one for a first period."""
    code = f"N{uuid4().hex[:10].upper()}"
    body = {"code": code, "name": "Welcome", "percent": percent}
    await actors.operate("POST", "/admin/coupons", body, status=201)
    return code


async def is_capped(customer: Customer) -> bool:
    """True while each use beyond the plan is to ask for what is unpaid."""
    (period,) = await customer.rows(
        "SELECT limits -> 'ai_responses' ? 'capped' AS capped FROM usage_periods"
        " WHERE account_id = %(me)s AND closed_at IS NULL"
    )
    return bool(period["capped"])


@pytest.mark.parametrize(
    ("percent", "at", "more"),
    [
        ("100", START, {}),
        ("20", "2027-01-30T20:00:00Z", {"billing_day": 31}),  # 0.49, less than a card is charged
    ],
)
async def test_overage_ends_at_the_unpaid_limit_until_money_came(
    actors: Actors, percent: str, at: str, more: dict[str, int]
) -> None:
    customer = await actors.customer_on_clock(at)
    await customer.subscribe("basic", coupon=await coupon(actors, percent), **more)
    assert (await customer.until_subscription("active"))["status"] == "active"
    assert await customer.effects() == []
    await refused(customer, "900000000")
    included = 16 if more else 500
    assert (await use(customer, str(included + 4500)))["total_cost"] == "90.00"
    assert (await refused(customer, "501"))["unpaid"] == "90.00"
    await customer.save_card()
    assert (await refused(customer, "501"))["unpaid"] == "90.00", "a card is no money yet"
    await customer.advance(days=32)
    assert [one["amount"] for one in await customer.effects()]
    assert (await use(customer, "50500"))["total_cost"] == "1000.00"


async def test_overage_ends_at_the_unpaid_limit_of_a_second_subscription_of_one_instant(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)

    async def begin() -> None:
        await customer.subscribe("basic", coupon=await coupon(actors, "100"))
        await customer.until_subscription("active")

    await begin()
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    await begin()
    assert await is_capped(customer)
    await refused(customer, TOO_MUCH)


async def test_what_a_renewal_did_not_bring_still_counts(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribe("basic", coupon=await coupon(actors, "100"))
    await customer.until_subscription("active")
    assert await is_capped(customer)
    await refused(customer, TOO_MUCH)
    assert (await use(customer, "5500"))["total_cost"] == "100.00"
    await refused(customer, "1")
    await customer.advance(days=32)
    assert (await customer.subscription())["status"] == "past_due"
    assert (await refused(customer, TOO_MUCH, "2027-01-20T10:00:00Z"))["limit"] == "100.00"


async def test_who_has_paid_once_is_bounded_no_more(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic", coupon=await coupon(actors, "50"))
    assert (await use(customer, "50500"))["total_cost"] == "1000.00"
    assert not await is_capped(customer), "its uses are asked no more"
