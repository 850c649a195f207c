"""Free units and credits are given once per month, however often subscriptions begin and end."""

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.operator_acts import check_books

START = "2027-01-10T10:00:00Z"
GIVEN = 10_000
"""Units of gpt-4-mini that are free in a cycle."""


async def free(customer: Customer, amount: int, at: str | None = None) -> int:
    """Use gpt-4-mini; 0 where it was not free, as the quote said."""
    body = {"product_id": "gpt-4-mini", "usage_amount": str(amount)}
    quoted = await customer.ask("POST", "/billing/calculate", body)
    body |= {"event_id": str(uuid4())} | ({"occurred_at": at} if at else {})
    done = await customer.call("POST", "/usage/record", body)
    is_free = done.status_code == 201 and done.json()["total_cost"] == "0"
    if at is None:
        assert (quoted["total_cost"] == "0") == is_free, (quoted, done.text)
    return amount if is_free else 0


async def test_free_units_of_a_product_are_given_once_a_month(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    taken = await free(customer, 4000)
    for _ in range(3):
        await customer.subscribe("free")
        taken += await free(customer, 4000)
        await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
        taken += await free(customer, 2000)
    assert taken == GIVEN
    await customer.advance(days=1)
    for late in ("2027-01-10T10:00:00Z", "2027-01-11T09:00:00Z"):
        assert await free(customer, 1, at=late) == 0
    await customer.advance(to="2027-02-01T10:00:00Z")
    assert await free(customer, GIVEN) == GIVEN


async def test_free_units_are_not_given_anew_behind_a_plan_that_was_paid(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    assert await free(customer, GIVEN) == GIVEN
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    assert await free(customer, 1) == 0


async def test_a_plan_that_is_paid_gives_free_units_anew_with_its_next_cycle_alone(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe("starter")
    await customer.until_subscription("active")
    assert await free(customer, GIVEN) == GIVEN
    await customer.advance(days=1)
    end = {"at": "now", "refund": "credit"}
    await customer.ask("POST", "/billing/subscription/cancel", end, status=200)
    await customer.subscribe("starter")
    await customer.until_subscription("active")
    assert await free(customer, 1) == 0
    for interval in ("year", "month"):
        await customer.advance(days=1)
        body = {"plan": "starter", "interval": interval, "at": "now"}
        await customer.ask("PUT", "/billing/subscription", body, status=200)
        assert await free(customer, 1) == 0
    await customer.advance(to="2027-02-13T10:00:00Z")
    assert await free(customer, GIVEN) == GIVEN


async def test_late_use_of_a_cycle_that_another_goes_on_from_has_the_same_free_units(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("starter")
    await customer.advance(days=1)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)
    await customer.subscribe("starter")
    await customer.until_subscription("active")
    assert await free(customer, GIVEN) == GIVEN
    assert await free(customer, 1, at="2027-01-10T12:00:00Z") == 0


async def test_the_rest_of_a_cycle_that_an_end_had_cut_has_its_free_units(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("starter")
    end = {"cancel_at": "2027-02-20T10:00:00Z"}
    await customer.ask("POST", "/billing/subscription/cancel", end, status=200)
    assert await free(customer, GIVEN) == GIVEN
    await customer.advance(to="2027-02-12T10:00:00Z")
    assert await free(customer, GIVEN) == GIVEN, "the last cycle is short and has them anew"
    await customer.ask("POST", "/billing/subscription/reactivate", status=200)
    await customer.advance(to="2027-02-22T10:00:00Z")
    assert (await customer.subscription())["current_period_start"] == "2027-02-20T10:00:00Z"
    assert await free(customer, 1) == 0, "its rest goes on with them"
    await customer.advance(to="2027-03-12T10:00:00Z")
    assert await free(customer, GIVEN) == GIVEN


async def test_use_of_the_month_without_a_plan_counts_in_the_first_cycle_of_one_that_is_paid(
    actors: Actors,
) -> None:
    subscribes, changes = [await actors.customer_on_clock(START) for _ in range(2)]
    await changes.save_card()
    await changes.subscribe("free")
    for customer in (subscribes, changes):
        assert await free(customer, GIVEN) == GIVEN
        await customer.advance(days=2)
    await subscribes.subscribed("starter")
    await changes.ask("PUT", "/billing/subscription", {"plan": "starter"}, status=200)
    for customer in (subscribes, changes):
        await customer.until_subscription("active")
        assert (await customer.subscription())["plan"]["key"] == "starter"
        assert await free(customer, 1) == 0
        await customer.advance(to="2027-02-12T11:00:00Z")
        assert await free(customer, GIVEN) == GIVEN


@pytest.mark.parametrize(
    ("zone", "start", "last", "after"),
    [
        ("UTC", "2027-01-05T10:00:00Z", "2027-02-05T09:00:00Z", "2027-02-08"),
        # It ends in the first hour of a day that has 25.
        ("America/New_York", "2027-10-07T04:30:00Z", "2027-11-07T04:10:00Z", "2027-11-10"),
    ],
)
async def test_a_cycle_that_is_over_takes_no_free_units_from_the_next_subscription(
    actors: Actors, zone: str, start: str, last: str, after: str
) -> None:
    customer = await actors.customer_on_clock(start, zone=zone)
    await customer.subscribed("starter")
    await customer.ask("POST", "/billing/subscription/cancel", {}, status=200)
    await customer.advance(to=last)
    assert await free(customer, GIVEN) == GIVEN
    for day in (last[:10], after):
        await customer.advance(to=f"{day}T11:00:00Z")
    await customer.subscribe("starter")
    await customer.until_subscription("active")
    assert await free(customer, GIVEN) == GIVEN


async def test_a_plan_without_a_price_takes_no_free_units_into_another_month(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-01-20T10:00:00Z")
    await customer.save_card()
    await customer.subscribe("free")
    assert await free(customer, GIVEN) == GIVEN
    await customer.advance(to="2027-02-05T10:00:00Z")
    await customer.ask("PUT", "/billing/subscription", {"plan": "starter"}, status=200)
    await customer.until_subscription("active")
    assert (await customer.subscription())["plan"]["key"] == "starter"
    assert await free(customer, GIVEN) == GIVEN


async def test_credits_of_a_plan_that_costs_nothing_are_given_once_a_month(actors: Actors) -> None:
    plan = f"hobby-{uuid4().hex[:12]}"
    body = {
        "family": plan, "name": "Hobby", "limits": [], "monthly_credits": "25",
        "prices": {"month": {"USD": 0}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{plan}", body)
    customer = await actors.customer_on_clock(START)
    for _ in range(3):
        await customer.subscribe(plan)
        await customer.until_subscription("active")
        assert await customer.credits() == 25
        await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"})
    await customer.subscribe(plan)
    await customer.until_subscription("active")
    await customer.advance(to="2027-02-10T11:00:00Z")
    assert [int(lot["amount"]) for lot in await customer.grants("plan")] == [25, 25]
    await check_books(customer)


async def test_what_was_used_before_the_cycle_is_said_alike_everywhere(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("basic")
    body = {"feature_type": "ai_responses", "usage_amount": "300"}
    await customer.ask("POST", "/usage/record", body, status=201)
    await customer.ask("POST", "/billing/subscription/cancel", {"at": "now"}, status=200)

    mine = (await customer.ask("GET", "/usage/current?fresh=true"))["meters"]["ai_responses"]

    limits: Any = (await customer.ask("GET", "/usage/limits?fresh=true"))["data"]
    (limit,) = (one for one in limits if one["meter"] == "ai_responses")
    assert (mine["quantity"], mine["used_before"], mine["remaining"]) == ("0", "50.00", "0")
    assert (limit["limit"], limit["used"]) == (mine["included"], mine["used_before"])
    ahead = (await customer.ask("GET", "/usage/forecast?fresh=true"))["meters"]["ai_responses"]
    assert (ahead["included"], ahead["used_before"]) == (mine["included"], mine["used_before"])
    assert ahead["expected_overage"] in ("0", None)


async def pay_as_you_go(actors: Actors, key: str) -> None:
    """A plan without a price that includes 100 messages of a month and sells more."""
    limit = {"meter": "chat_messages", "included": "100", "then": "overage"}
    body = {
        "name": "Pay as you go", "family": key, "prices": {"month": {"USD": 0}},
        "limits": [limit | {"prices": {"USD": "0.01"}}],
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", body)


async def cost(customer: Customer, amount: str) -> str:
    body = {"feature_type": "chat_messages", "usage_amount": amount}
    return str((await customer.ask("POST", "/usage/record", body, status=201))["total_cost"])


@pytest.mark.parametrize("way", ["pause", "change", "cut"])
async def test_a_free_plan_that_begins_anew_gives_no_more_of_the_month(
    actors: Actors, way: str
) -> None:
    key = f"payg-{uuid4().hex[:8]}"
    await pay_as_you_go(actors, key)
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe(key)
    assert await cost(customer, "100") == "0"
    path = "/billing/subscription"
    if way == "pause":
        await customer.ask("POST", f"{path}/pause", {"at": "now"}, status=200)
        await customer.advance(days=1)
        await customer.ask("POST", f"{path}/resume", {}, status=200)
    elif way == "change":
        for plan in ("starter", key):
            await customer.advance(days=1)
            await customer.ask("PUT", path, {"plan": plan, "at": "now"}, status=200)
    else:
        cut = {"cancel_at": "2027-02-12T10:00:00Z"}
        await customer.ask("POST", f"{path}/cancel", cut, status=200)
        await customer.advance(to="2027-02-11T10:00:00Z")
        assert await cost(customer, "100") == "0"
        await customer.ask("POST", f"{path}/reactivate", status=200)
        await customer.advance(to="2027-02-12T10:00:01Z")
    assert await cost(customer, "10") == "0.10"
    await customer.advance(to="2027-03-13T10:00:00Z")
    assert await cost(customer, "100") == "0"
