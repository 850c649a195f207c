"""Money that goes back takes the credits that its own invoice has paid for."""

from decimal import Decimal

from tests.integration.actors import Actors, Customer, Json
from tests.integration.changes.test_plan_changes import LATER, PATH, RENEWAL, begun, change
from tests.integration.changes.test_replaced_credits import left_by_end
from tests.integration.reversals.test_outside import disputed, until_credits
from tests.integration.reversals.test_refunds import paid_for, refunded

FIFTH = "2027-01-05T10:00:00Z"
PAUSE = {"at": "now"}


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
    await change(customer, interval="month", when="now")
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
