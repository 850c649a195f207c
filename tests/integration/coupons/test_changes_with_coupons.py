"""A coupon that comes with more seats or add-ons is off those that are added; the others keep
theirs.
"""

from decimal import Decimal
from typing import Any

from tests.integration.actors import Actors
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import LATER, PATH, RENEWAL, change
from tests.integration.changes.test_seats import seated, team
from tests.integration.coupons.coupons_made import CLOCK, COUPON, coupon
from tests.integration.coupons.test_coupons import invoices
from tests.integration.money_seen import money
from tests.integration.operator_acts import check_books


async def test_seats_that_stay_keep_the_discount_of_their_change(actors: Actors) -> None:
    code = await coupon(actors, percent="50", duration="forever")
    customer = await seated(actors, 4)
    await change(customer, quantity=8, coupon=code)
    await change(customer, quantity=9)
    # Four more at half the price of 10.00, and one more at all of it.
    assert await invoices(customer) == [(0, 4000), (2000, 4000 - 2000), (2000, 7000 - 6000)]

    await customer.advance(to=LATER)
    await change(customer, quantity=5, at="now")
    # 21 of 31 days: of 90.00 less 20.00, and of four seats without a coupon and one with it.
    assert await money(customer) == 4742 - (3387 - 339)
    await customer.advance(to=RENEWAL)
    assert (await invoices(customer))[-1] == (2500, 2500)


async def test_seats_that_stay_do_not_get_cheaper_by_the_coupon_of_one_more(
    actors: Actors,
) -> None:
    code = await coupon(actors, percent="50")
    customer = await seated(actors, 9)
    wish = {"quantity": 10, "coupon": code}
    seen = await customer.ask("POST", f"{PATH}/preview", wish, status=200)
    assert (seen["due_now_cents"], seen["credited_cents"]) == (500, 0)
    await change(customer, **wish, preview_token=seen["preview_token"])
    assert await invoices(customer) == [(0, 9000), (500, 500)]
    assert await money(customer) == 0


async def test_an_amount_off_the_period_stays_with_its_seats(actors: Actors) -> None:
    code = await coupon(actors, amounts={"USD": 900})
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed(await team(actors), quantity=4, coupon=code)
    await change(customer, quantity=5)
    assert await invoices(customer) == [(900, 3100), (900, 4100 - 3100)]


async def test_an_amount_off_the_period_stays_with_its_add_ons(actors: Actors) -> None:
    code = await coupon(actors, amounts={"USD": 2700})
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribed("basic")
    await choose(customer, ai_500=5)
    await customer.ask("POST", COUPON, {"code": code}, status=200)
    await customer.advance(to=RENEWAL)
    # 19.00 and five times 7.00, half price.
    assert (await invoices(customer))[-1] == (2700, 2700)
    wish: dict[str, Any] = {"add_ons": [{"add_on": "ai-500", "quantity": 4}], "at": "now"}
    seen = await customer.ask("POST", f"{PATH}/preview", wish, status=200)
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 350)
    await change(customer, **wish, preview_token=seen["preview_token"])
    assert await money(customer) == 350


async def test_a_pause_under_a_coupon_for_all_of_the_price_brings_nothing_twice(
    actors: Actors,
) -> None:
    code = await coupon(actors, percent="100", duration="forever")
    customer = await actors.customer_on_clock(CLOCK)
    await customer.subscribe("pro", coupon=code)
    assert (await use(customer, "3000"))["total_cost"] == "0"
    for second in (1, 2):
        await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
        await customer.advance(to=f"2027-01-01T10:00:0{second}Z")
        await customer.ask("POST", f"{PATH}/resume", status=200)
    # Two of the seconds of 31 days.
    assert await customer.credits() == Decimal("500.000374")
    assert (await use(customer, "3000"))["total_cost"] == "15.00"
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert await customer.credits() == 500
    assert (await use(customer, "5000"))["total_cost"] == "0"
    await check_books(customer)
