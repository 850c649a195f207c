"""Money that goes back in a cycle whose plan was changed takes the credits of the time that it had
paid for; what an end or a further change asks for is those of the rest.
"""

from decimal import Decimal

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.changes.chosen_plans import PATH, change
from tests.integration.credits.test_rollover import spend
from tests.integration.money_seen import money
from tests.integration.reversals.outside_events import disputed, until_credits
from tests.integration.reversals.refunds_made import refunded

FIRST, SECOND, THIRD, FOURTH = (f"2027-02-{day:02}T10:00:00Z" for day in (1, 8, 15, 22))
"""The weeks of a month of four."""
CREDIT = {"at": "now", "refund": "credit"}


async def changed(actors: Actors, begins: str, *later: tuple[str, str]) -> Customer:
    """A customer whose plan is another one from each of these instants on."""
    customer = await actors.customer_on_clock(FIRST)
    await customer.subscribed(begins)
    for at, plan in later:
        await customer.advance(to=at)
        await change(customer, plan=plan)
    return customer


async def upgraded(actors: Actors) -> Customer:
    return await changed(actors, "basic", (SECOND, "pro"))


async def give_back(customer: Customer, number: int, amount: int | None = None) -> None:
    """An operator's refund of a payment, by its number from the oldest on."""
    payments = (await customer.ask("GET", "/billing/payments"))["data"][::-1]
    await refunded(customer, payments[number], amount, keep_subscription=True)


async def left_by_end(customer: Customer) -> Decimal:
    """The credits that are left by an end with a credit."""
    await customer.ask("POST", f"{PATH}/cancel", CREDIT, status=200)
    return await customer.credits()


async def test_a_refund_of_an_upgrade_leaves_the_weeks_before_it(actors: Actors) -> None:
    customer = await changed(actors, "basic", (SECOND, "pro"), (THIRD, "enterprise"))
    assert await customer.credits() == 25 + 125 + 2500
    await give_back(customer, 2)
    assert await customer.credits() == 25 + 125 + 250
    assert await left_by_end(customer) == 25 + 125
    assert await money(customer) == 2450


async def test_a_half_of_an_upgrade_that_a_bank_took_leaves_the_week_before_it(
    actors: Actors,
) -> None:
    customer = await upgraded(actors)
    newest = (await customer.ask("GET", "/billing/payments"))["data"][0]
    opened = await actors.sandbox.dispute(newest["stripe_payment_intent_id"], amount=1125)
    await disputed(actors, customer, "open")
    await until_credits(customer, "250")
    await actors.sandbox.finish_dispute(opened.body["id"], "lost")
    await disputed(actors, customer, "lost")
    assert await left_by_end(customer) == 25


@pytest.mark.parametrize(("plan", "left"), [("basic", 100), ("enterprise", 25 + 3750)])
async def test_another_plan_after_a_refunded_upgrade_takes_nothing_of_the_week_before(
    actors: Actors, plan: str, left: int
) -> None:
    customer = await upgraded(actors)
    await give_back(customer, 1)
    await change(customer, plan=plan, at="now")
    assert await customer.credits() == left


async def test_a_refund_of_the_week_before_an_upgrade_leaves_an_end_all_of_the_rest(
    actors: Actors,
) -> None:
    customer = await upgraded(actors)
    await give_back(customer, 0, 475)
    assert await customer.credits() == 375
    assert await left_by_end(customer) == 0


async def test_credits_spent_before_a_refunded_upgrade_hinder_no_end(actors: Actors) -> None:
    customer = await changed(actors, "basic")
    await spend(customer, 20)
    await customer.advance(to=SECOND)
    await change(customer, plan="pro")
    await give_back(customer, 1)
    assert await left_by_end(customer) == 5


@pytest.mark.parametrize(
    ("plans", "at", "minor", "left"),
    [(("basic", "pro"), SECOND, 475, 25), (("pro", "enterprise"), FOURTH, 3675, 375)],
)
async def test_a_refund_after_an_end_takes_the_credits_of_the_time_before_a_change(
    actors: Actors, plans: tuple[str, str], at: str, minor: int, left: int
) -> None:
    customer = await changed(actors, plans[0], (at, plans[1]))
    assert await left_by_end(customer) == left
    await give_back(customer, 0, minor)
    assert await customer.credits() == 0


async def test_a_refund_after_a_step_down_takes_the_credits_of_the_week_that_it_had_paid(
    actors: Actors,
) -> None:
    customer = await upgraded(actors)
    await change(customer, plan="basic", at="now")
    assert await customer.credits() == 100
    await give_back(customer, 0, 475)
    assert await customer.credits() == 75
    assert await left_by_end(customer) == 0
