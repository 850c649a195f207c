"""A coupon redeemed on a running subscription is off its next periods, and off no use of earlier
ones.
"""

from tests.integration.actors import Actors
from tests.integration.arrears.overage_uses import use
from tests.integration.coupons.coupons_made import CLOCK, COUPON, coupon
from tests.integration.coupons.test_coupons import invoices


async def test_a_coupon_of_a_running_subscription_waits_for_its_next_period(
    actors: Actors,
) -> None:
    code = await coupon(actors, percent="100")
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    await customer.advance(to="2027-01-16T22:00:00Z")
    await customer.ask("POST", COUPON, {"code": code}, status=200)
    more = {"add_ons": [{"add_on": "ai-500", "quantity": 2}]}
    await customer.ask("PUT", "/billing/subscription", more, status=200)
    assert (await invoices(customer))[-1] == (0, 700)
    await customer.ask("PUT", "/billing/subscription", {"plan": "pro"}, status=200)
    assert (await invoices(customer))[-1][0] == 0
    await customer.advance(to="2027-02-02T00:00:00Z")
    # 49.00 for pro, and twice 7.00 where the plan sells the add-on.
    assert (await invoices(customer))[-1] in ((4900, 0), (6300, 0))
    assert (await customer.subscription())["discounts"] == []


async def test_a_coupon_of_the_last_hour_is_not_off_the_use_of_its_period(
    actors: Actors,
) -> None:
    code = await coupon(actors, percent="50", duration="forever")
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    await use(customer, "600")
    await customer.advance(to="2027-02-01T09:00:00Z")
    await customer.ask("POST", COUPON, {"code": code}, status=200)
    coming = await customer.ask("GET", "/billing/subscription/upcoming", status=200)
    # Half of 19.00; 100 answers at 0.02 in full.
    assert coming["invoice"]["total_cents"] == 950 + 200
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert (await invoices(customer))[-1] == (950, 950 + 200)
    await use(customer, "600")
    await customer.advance(to="2027-03-01T11:00:00Z")
    assert (await invoices(customer))[-1] == (1050, 950 + 100), "of the next period half"


async def test_a_coupon_of_a_year_is_off_no_use_of_that_year(actors: Actors) -> None:
    code = await coupon(actors, percent="50", duration="forever")
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic", interval="year")
    await customer.ask("POST", COUPON, {"code": code}, status=200)
    await customer.advance(to="2027-12-15T10:00:00Z")
    await use(customer, "600")
    await customer.advance(to="2028-01-01T11:00:00Z")
    assert (await invoices(customer))[-1] == (9500, 9500 + 200)
    await use(customer, "600")
    await customer.advance(to="2028-02-01T11:00:00Z")
    assert (await invoices(customer))[-1] == (100, 100)


async def test_a_coupon_for_use_is_off_the_use_of_one_period(actors: Actors) -> None:
    code = await coupon(actors, percent="50", kinds=["usage"])
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic", interval="year", coupon=code)
    await use(customer, "600")
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert (await invoices(customer))[-1] == (100, 100)
    await customer.advance(to="2027-03-01T09:00:00Z")
    await use(customer, "600")
    await customer.advance(to="2028-01-01T11:00:00Z")
    assert (await invoices(customer))[-2:] == [(100, 100), (0, 19000)], "none in December"
    assert (await customer.subscription())["discounts"] == []
    await use(customer, "600")
    await customer.advance(to="2028-02-01T11:00:00Z")
    assert (await invoices(customer))[-1] == (0, 200)


async def test_a_coupon_that_came_with_a_change_is_off_no_other_change_of_its_period(
    actors: Actors,
) -> None:
    code = await coupon(actors, percent="50")
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    path, more = "/billing/subscription", {"add_ons": [{"add_on": "ai-500", "quantity": 1}]}
    # All at the instant that the period began at: the clock stands still.
    await customer.ask("PUT", path, more | {"coupon": code}, status=200)
    assert (await invoices(customer))[-1] == (350, 350)
    for plan, due in (("pro", 4900 - 1900), ("enterprise", 49900 - 4900)):
        await customer.ask("PUT", path, {"plan": plan}, status=200)
        assert (await invoices(customer))[-1] == (0, due), plan
    await customer.advance(days=32)
    assert (await invoices(customer))[-1] == (24950, 24950), "the next period uses it up"
    assert (await customer.subscription())["discounts"] == []


async def test_a_coupon_of_the_instant_that_the_period_began_at_waits_too(actors: Actors) -> None:
    code = await coupon(actors, percent="50")
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    await customer.ask("POST", COUPON, {"code": code}, status=200)
    await customer.ask("PUT", "/billing/subscription", {"plan": "enterprise"}, status=200)
    assert (await invoices(customer))[-1] == (0, 49900 - 1900)
    await customer.advance(days=32)
    assert (await invoices(customer))[-1] == (24950, 24950)
