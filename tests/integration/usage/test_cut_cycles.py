"""Free units of a cycle that an end at a date cuts are not given twice; of any other short one they
come anew.
"""

from uuid import uuid4

from tests.integration.actors import Actors, Customer
from tests.integration.changes.test_given_days import extend
from tests.integration.usage.test_one_month import GIVEN, START, free

SUBSCRIPTION = "/billing/subscription"
CUT = "2027-02-12T10:00:00Z"


async def cut_and_used(actors: Actors) -> Customer:
    """All free units are used in the two days before the cut."""
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("starter")
    await customer.ask("POST", f"{SUBSCRIPTION}/cancel", {"cancel_at": CUT}, status=200)
    await customer.advance(to="2027-02-11T10:00:00Z")
    assert await free(customer, GIVEN) == GIVEN
    return customer


async def test_who_subscribes_anew_behind_a_cut_goes_on_with_its_free_units(actors: Actors) -> None:
    customer = await cut_and_used(actors)
    await customer.advance(to=CUT)
    await customer.subscribe("starter")
    await customer.until_subscription("active")
    assert await free(customer, 1) == 0
    await customer.advance(to="2027-03-12T11:00:00Z")
    assert await free(customer, GIVEN) == GIVEN


async def test_another_interval_from_a_cut_on_goes_on_with_its_free_units(actors: Actors) -> None:
    customer = await cut_and_used(actors)
    await customer.ask("POST", f"{SUBSCRIPTION}/reactivate", status=200)
    body = {"plan": "starter", "interval": "year", "when": "period_end"}
    await customer.ask("PUT", SUBSCRIPTION, body, status=200)
    await customer.advance(to="2027-02-13T10:00:00Z")
    assert (await customer.subscription())["current_period_end"] == "2028-02-12T10:00:00Z"
    assert await free(customer, 1) == 0
    await customer.advance(to="2027-03-12T11:00:00Z")
    assert await free(customer, GIVEN) == GIVEN


async def test_the_rest_of_a_cut_goes_on_while_its_renewal_is_late(actors: Actors) -> None:
    customer = await cut_and_used(actors)
    await customer.ask("POST", f"{SUBSCRIPTION}/reactivate", status=200)
    await customer.rows(
        "UPDATE accounts SET clock_at = '2027-02-12T12:00:00Z' WHERE id = %(me)s RETURNING id"
    )
    assert await free(customer, 1) == 0, "no step has begun the rest"


async def test_a_short_first_period_takes_no_free_units_from_the_whole_one(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("starter", billing_day=1)
    assert await free(customer, GIVEN) == GIVEN
    await customer.advance(to="2027-02-01T10:00:01Z")
    assert await free(customer, GIVEN) == GIVEN
    await customer.advance(to="2027-02-03T10:00:00Z")
    await extend(actors, customer, days=5)
    assert await free(customer, 1) == 0


async def test_a_week_takes_no_free_units_from_the_month_behind_it(actors: Actors) -> None:
    key = f"weekly-{uuid4().hex[:8]}"
    for name, fields in (
        (key, {"allowance": "week", "prices": {"week": {"USD": 1000}}}),
        (f"{key}-m", {"prices": {"month": {"USD": 3000}}}),
    ):
        body = {"name": name, "family": key, "limits": [], **fields}
        await actors.operate("PUT", f"/admin/plans/{name}", body)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(key, interval="week")
    assert await free(customer, GIVEN) == GIVEN
    body = {"plan": f"{key}-m", "interval": "month", "when": "period_end"}
    await customer.ask("PUT", SUBSCRIPTION, body, status=200)
    await customer.advance(to="2027-01-18T11:00:00Z")
    assert await free(customer, GIVEN) == GIVEN


async def test_days_that_are_given_take_no_free_units(actors: Actors) -> None:
    customer = await cut_and_used(actors)
    await customer.ask("POST", f"{SUBSCRIPTION}/reactivate", status=200)
    await customer.advance(to="2027-02-13T10:00:00Z")
    assert await free(customer, 1) == 0
    await customer.advance(to="2027-03-12T10:00:00Z")
    await extend(actors, customer, days=5)
    assert await free(customer, GIVEN) == GIVEN


async def test_days_that_are_given_to_a_cut_cycle_bring_no_free_units_with_its_rest(
    actors: Actors,
) -> None:
    customer = await cut_and_used(actors)
    await customer.ask("POST", f"{SUBSCRIPTION}/reactivate", status=200)
    await extend(actors, customer, days=3)
    await customer.advance(to="2027-02-15T11:00:00Z")
    assert (await customer.subscription())["current_period_end"] == "2027-03-13T10:00:00Z"
    assert await free(customer, 1) == 0
    await customer.advance(to="2027-03-13T11:00:00Z")
    assert await free(customer, GIVEN) == GIVEN


async def test_a_resumption_has_its_free_units_however_often_it_is_looked_at(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.subscribed("starter")
    assert await free(customer, GIVEN) == GIVEN
    await customer.ask("POST", f"{SUBSCRIPTION}/pause", {"at": "now"}, status=200)
    await customer.advance(to="2027-01-15T10:00:00Z")
    await customer.ask("POST", f"{SUBSCRIPTION}/resume", {}, status=200)
    await customer.until_subscription("active")
    limit = {"included": "20000", "then": "block"}
    await actors.operate("PUT", f"/admin/accounts/{customer.id}/limits/api_calls", limit)
    await extend(actors, customer, days=5)
    assert await free(customer, GIVEN) == GIVEN


async def test_a_use_that_a_short_cycle_refuses_passes_in_the_whole_one(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    key = f"blocks-{uuid4().hex[:8]}"
    plan = {
        "family": key, "name": "Blocks", "prices": {"month": {"USD": 3000}},
        "limits": [{"meter": "chat_messages", "included": "100"}],
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", plan)
    await customer.subscribed(key, billing_day=4)
    for amount, passes_at in (("40", "2027-01-04T10:00:00Z"), ("101", None)):
        body = {"feature_type": "chat_messages", "requested_amount": amount}
        asked = await customer.ask("POST", "/quota/check", body)
        assert (asked["limit"], asked["passes_at"]) == ("10.00", passes_at)
