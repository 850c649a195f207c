"""Money that goes back takes the credits that its own invoice has paid for, and an end asks for
those of its own period, whatever went back of others.
"""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from uuid import uuid4

import pytest

from billing.core import ids
from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import START
from tests.integration.changes.chosen_plans import LATER, PATH, RENEWAL, begun, change
from tests.integration.changes.test_replaced_credits import left_by_end
from tests.integration.changes.test_seats import team
from tests.integration.money_seen import charged, money
from tests.integration.operator_acts import check_books
from tests.integration.past_triggers import past_triggers
from tests.integration.reversals.outside_events import disputed, until_credits
from tests.integration.reversals.refunds_made import paid_for, refunded

FIFTH = "2027-01-05T10:00:00Z"
PAUSE = {"at": "now"}
CREDIT = {"at": "now", "refund": "credit"}


async def first_paid(customer: Customer) -> Json:
    """The oldest payment that brought money."""
    payments = (await customer.ask("GET", "/billing/payments"))["data"]
    found: Json = [one for one in payments if one["amount_received"]][-1]
    return found


async def resumed(customer: Customer, paused: str, at: str) -> None:
    """A pause now, and a resumption that is paid."""
    await customer.advance(to=paused)
    await customer.ask("POST", f"{PATH}/pause", PAUSE, status=200)
    await customer.advance(to=at)
    await customer.ask("POST", f"{PATH}/resume", status=200)
    await customer.until_subscription("active")


async def ended(customer: Customer, body: Json = CREDIT) -> None:
    await customer.ask("POST", f"{PATH}/cancel", body, status=200)


async def again(customer: Customer, plan: str = "pro") -> None:
    """Another subscription, on the next day."""
    await customer.advance(days=1)
    await customer.subscribe(plan, payment_method="default")
    await customer.until_subscription("active")


async def test_a_refund_of_a_resumption_leaves_the_credits_of_the_period_before(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await resumed(customer, FIFTH, "2027-01-10T10:00:00Z")
    assert await customer.credits() == 1000
    await refunded(customer, await paid_for(customer))
    assert await left_by_end(customer) == {RENEWAL: Decimal(500)}


async def test_a_dispute_of_a_resumption_leaves_the_credits_of_the_period_before(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await resumed(customer, FIFTH, "2027-01-10T10:00:00Z")
    payment = await paid_for(customer)
    await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    await disputed(actors, customer, "open")
    await until_credits(customer, "500")


async def test_a_refund_of_a_year_leaves_the_credits_of_its_resumption(actors: Actors) -> None:
    customer = await begun(actors, "pro", interval="yearly")
    await resumed(customer, "2027-03-10T10:00:00Z", "2027-04-10T10:00:00Z")
    await customer.advance(to="2027-05-20T10:00:00Z")
    assert await customer.credits() == 500
    await refunded(customer, await first_paid(customer))
    assert await customer.credits() == 500


async def test_a_refund_of_a_year_leaves_what_the_months_after_it_have_paid_for(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro", interval="yearly")
    await customer.advance(to="2027-03-10T10:00:00Z")
    await change(customer, interval="month", at="now")
    await customer.advance(to="2027-04-20T10:00:00Z")
    assert await customer.credits() == 500
    await refunded(customer, await first_paid(customer))
    assert await customer.credits() == 500


async def test_a_refund_of_a_year_leaves_the_part_of_the_month_that_had_passed(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=LATER)
    await change(customer, interval="year")
    await refunded(customer, await paid_for(customer))
    assert await left_by_end(customer) == {RENEWAL: Decimal("161.290323")}


async def test_credits_of_a_renewal_that_came_a_moment_early_are_those_of_its_cycle(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to="2027-02-02T10:00:00Z")
    early = (
        "UPDATE credit_lots SET created_at = expires_at - interval '28 days 500 milliseconds'"
        " WHERE account_id = %(me)s AND is_open"
    )
    await past_triggers(actors.stack, early, me=ids.decode(ids.ACCOUNT, customer.id))
    await ended(customer)
    assert await customer.credits() < 100, "those of the time that was left are gone"


async def canceled(customer: Customer) -> None:
    await ended(customer)


async def cheaper(customer: Customer) -> None:
    await change(customer, plan="basic", at="now")
    await ended(customer)


@pytest.mark.parametrize("how", [canceled, cheaper])
async def test_credits_that_went_back_with_a_subscription_do_not_stay_of_the_next_one(
    actors: Actors, how: Callable[[Customer], Awaitable[None]]
) -> None:
    customer = await begun(actors, "pro")
    await refunded(customer, await paid_for(customer))
    await customer.until_subscription("canceled")
    for _ in range(2):
        await again(customer)
        assert await customer.credits() == 500
        await how(customer)
        assert await customer.credits() == 0


async def test_an_end_takes_no_credits_that_another_subscription_has_paid_for(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await ended(customer, {"at": "now"})
    await again(customer)
    await refunded(customer, await paid_for(customer), 2450)
    assert await customer.credits() == 750
    await ended(customer)
    assert await left_by_end(customer) == {RENEWAL: Decimal(500)}


async def test_a_refund_of_the_period_before_a_pause_lowers_nothing_after_it(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=FIFTH)
    await customer.ask("POST", f"{PATH}/pause", PAUSE, status=200)
    await refunded(customer, await paid_for(customer), 2450)
    await customer.advance(days=5)
    await customer.ask("POST", f"{PATH}/resume", status=200)
    await customer.until_subscription("active")
    assert await customer.credits() == 750
    await ended(customer)
    assert await left_by_end(customer) == {RENEWAL: Decimal(250)}


async def test_a_refund_of_a_month_that_a_change_cut_lowers_nothing_of_the_year(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=LATER)
    await change(customer, interval="year")
    month = await first_paid(customer)
    # What the change has left of it: 10 of 31 days.
    await refunded(customer, month, 1581)
    assert await customer.credits() == 500
    await ended(customer)
    assert await customer.credits() == 0


async def test_a_dispute_after_a_step_down_takes_the_credits_that_are_left(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(await team(actors), quantity=5)
    await change(customer, quantity=4, at="now")
    assert await customer.credits() == 4 * 31
    payment = await first_paid(customer)
    opened = await actors.sandbox.dispute(payment["stripe_payment_intent_id"])
    dispute = await disputed(actors, customer, "open")
    assert (dispute["amount_cents"], dispute["loss_cents"]) == (5000, 4000)
    await until_credits(customer, "0")
    await actors.sandbox.finish_dispute(opened.body["id"], "won")
    await until_credits(customer, "124")


@pytest.mark.parametrize("seats", [(4,), (4, 3)])
@pytest.mark.parametrize(("amount", "credits"), [(3000, "62"), (5000, "0")])
async def test_a_refund_at_stripe_after_a_step_down_takes_its_credits_and_leaves_no_debt(
    actors: Actors, seats: tuple[int, ...], amount: int, credits: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(await team(actors), quantity=5)
    for quantity in seats:
        await change(customer, quantity=quantity, at="now")
    payment = await first_paid(customer)
    await actors.sandbox.refund(payment["stripe_payment_intent_id"], amount)
    await until_credits(customer, credits)
    assert await money(customer) == 0
    if amount == 5000:
        await customer.until_subscription("canceled")
    await customer.advance(days=1)
    assert await charged(customer) == [5000], "nothing of it is asked again"
    await check_books(customer)


async def test_a_dispute_asks_again_for_no_credits_that_a_change_has_clawed_back(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(to=LATER)
    await change(customer, interval="year")
    month = await first_paid(customer)
    await actors.sandbox.dispute(month["stripe_payment_intent_id"])
    await disputed(actors, customer, "open")
    await until_credits(customer, "500")
    (row,) = await customer.rows("SELECT credits FROM disputes WHERE account_id = %(me)s")
    assert [one["amount"] for one in row["credits"]] == ["161.290323"]


async def test_credits_of_a_free_plan_go_with_the_rest_of_its_month(actors: Actors) -> None:
    key = f"gratis-{uuid4().hex[:8]}"
    terms = {"name": "Gratis", "family": key, "monthly_credits": "100"}
    await actors.operate("PUT", f"/admin/plans/{key}", terms | {"prices": {"month": {"USD": 0}}})
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe(key)
    await customer.until_subscription("active")
    await ended(customer, {"at": "now"})
    await again(customer, key)
    assert await left_by_end(customer) == {RENEWAL: Decimal(100)}, "once a month"
    await change(customer, plan="pro")
    assert await left_by_end(customer) == {"2027-02-02T10:00:00Z": Decimal(500)}
    await ended(customer)
    assert await customer.credits() == 0
