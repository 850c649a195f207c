"""A cycle that was given back takes no use any more, by whichever way it went back."""

from typing import Any
from uuid import uuid4

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import begun, change
from tests.integration.money_seen import charged, money
from tests.integration.reversals.refunds_made import paid_for, refunded

IN_JANUARY = "2027-01-01T12:00:00Z"


def dated(at: str, amount: str = "90000", **more: Any) -> Json:
    return {"feature_type": "ai_responses", "usage_amount": amount, "occurred_at": at} | more


async def too_old(customer: Customer, at: str, role: str = "billing") -> None:
    """A use that is dated so is refused, alone and in a batch."""
    problem = await customer.refused("EVENT_TOO_OLD", "POST", "/usage/record", dated(at), role=role)
    assert "was credited or is unpaid" in problem["detail"]
    rows = {"events": [dated(at, event_id=str(uuid4()))]}
    answer = await customer.call("POST", "/usage/batch", rows, role=role)
    assert [row.get("code") for row in answer.json()["results"]] == ["EVENT_TOO_OLD"]


async def brought(customer: Customer, at: str, amount: str = "90000") -> Json:
    """The same use from the operator's own backend."""
    return await customer.actors.operate(
        "POST", "/usage/record", dated(at, amount), account=customer.id, status=201
    )


async def test_a_cycle_that_gave_way_to_a_new_period_takes_no_use(actors: Actors) -> None:
    customer = await begun(actors, "enterprise")
    await customer.advance(days=1)
    await change(customer, plan="basic", interval="year", at="now")
    # 30 of 31 days of the cycle came back.
    assert await money(customer) == 48290 - 19000
    await too_old(customer, IN_JANUARY)
    await too_old(customer, "2027-01-02T09:57:00Z", role="member")
    assert (await use(customer, "500", "2027-01-02T10:00:00Z"))["total_cost"] == "0"
    assert (await use(customer, "50"))["total_cost"] == "1.00"
    assert (await brought(customer, IN_JANUARY))["total_cost"] == "0"


async def test_late_uses_of_a_cycle_of_which_nothing_came_back_are_counted(actors: Actors) -> None:
    customer = await begun(actors)
    await use(customer, "500")
    await customer.advance(days=1)
    await change(customer, interval="year")
    assert await charged(customer) == [1900, 19000]
    assert (await use(customer, "50", IN_JANUARY))["total_cost"] == "1.00"


async def test_cycles_before_the_one_that_gave_way_take_late_uses(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-02-03T10:00:00Z")
    await change(customer, interval="year")
    assert (await use(customer, "500", "2027-01-31T12:00:00Z"))["total_cost"] == "0"
    await too_old(customer, "2027-02-01T10:00:00Z")


async def test_a_period_whose_payment_went_back_takes_no_use(actors: Actors) -> None:
    customer = await begun(actors, "enterprise")
    await customer.advance(days=1)
    await refunded(customer, await paid_for(customer))
    await customer.until_subscription("canceled")
    await too_old(customer, IN_JANUARY)
    await too_old(customer, "2027-01-02T09:57:00Z", role="member")
    assert (await brought(customer, IN_JANUARY))["total_cost"] == "0"

    await customer.advance(days=1)
    await customer.subscribe("pro")
    await customer.until_subscription("active")
    assert (await use(customer, "5000", "2027-01-03T10:00:00Z"))["total_cost"] == "0"


async def test_a_period_whose_payment_goes_back_after_it_takes_no_use(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    first = await paid_for(customer)
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert (await use(customer, "10", IN_JANUARY))["total_cost"] == "0"
    await refunded(customer, first)
    await too_old(customer, IN_JANUARY)
    assert (await use(customer, "10", "2027-02-01T10:00:00Z"))["total_cost"] == "0"
    assert (await customer.subscription())["status"] == "active"


async def test_a_period_that_an_operator_lets_run_on_takes_late_uses(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await refunded(customer, await paid_for(customer), keep_subscription=True)
    await customer.advance(days=1)
    assert (await use(customer, "10", IN_JANUARY))["total_cost"] == "0"


async def test_a_cycle_that_gives_way_to_a_plan_without_the_limit_takes_no_use(
    actors: Actors,
) -> None:
    customer = await begun(actors, "enterprise")
    await use(customer, "40000")
    await customer.advance(days=1)
    await change(customer, plan="starter", at="now")
    # Of the month 40 % are used, and the new plan costs its whole price of 30 days.
    assert await money(customer) == 29940 - 2806
    await too_old(customer, IN_JANUARY)


async def paused_while_owed(customer: Customer) -> None:
    """February is declined, and paused on its first day: what is owed of the rest is taken back."""
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert (await customer.subscription())["status"] == "past_due"
    await customer.advance(days=1)
    await customer.ask("POST", "/billing/subscription/pause", {"at": "now"}, status=200)
    await customer.advance(to="2027-02-02T11:01:00Z")


async def test_a_cycle_that_was_paused_while_it_was_owed_takes_no_use(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.script("insufficient_funds", then="last")
    await paused_while_owed(customer)
    await too_old(customer, "2027-02-01T12:00:00Z")
    await too_old(customer, "2027-02-02T10:59:00Z", role="member")
    assert (await use(customer, "10", "2027-01-31T12:00:00Z"))["total_cost"] == "0", "it was paid"
    assert (await brought(customer, "2027-02-01T12:00:00Z", "10"))["total_cost"] == "0"

    await customer.script("succeed")
    await customer.ask("POST", "/billing/pay-overdue", {"resume": True}, key="again", status=200)
    await customer.until_subscription("active")
    await too_old(customer, "2027-02-01T12:00:00Z")
    assert (await use(customer, "10"))["total_cost"] == "0"


async def test_a_cycle_that_was_paid_takes_late_uses_in_a_pause(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(days=1)
    await customer.ask("POST", "/billing/subscription/pause", {"at": "now"}, status=200)
    await customer.advance(to="2027-01-02T11:00:00Z")
    assert (await use(customer, "10", IN_JANUARY))["total_cost"] == "0"
