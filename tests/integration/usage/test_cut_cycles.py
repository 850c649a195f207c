"""Free units of a cycle that an end at a date cuts are not given twice; nor are those of a short
first one, and agreed limits, to another subscription.
"""

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.contract_terms import agree
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
    body = {"plan": "starter", "interval": "year", "at": "period_end"}
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
    body = {"plan": f"{key}-m", "interval": "month", "at": "period_end"}
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


async def short(customer: Customer, day: int, plan: str = "starter") -> None:
    """A subscription whose first period ends on the next day, and that ends with it."""
    await customer.subscribe(plan, billing_day=day + 1)
    await customer.until_subscription("active")
    await customer.ask("POST", f"{SUBSCRIPTION}/cancel", {"at": "period_end"}, status=200)


async def test_a_short_first_period_that_is_begun_each_day_gives_free_units_once(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    for day, left in ((10, GIVEN), (11, 0), (12, 0)):
        await customer.advance(to=f"2027-01-{day}T10:00:00Z")
        await short(customer, day)
        assert await free(customer, GIVEN) == left
    await customer.advance(to="2027-02-13T10:00:00Z")
    await short(customer, 13)
    assert await free(customer, GIVEN) == GIVEN


async def limited(customer: Customer, way: str) -> None:
    """Agree on a thousand messages in each cycle."""
    rule: dict[str, Any] = {"included": "1000", "then": "block"}
    if way == "contract":
        price = {"plan": "starter", "interval": "month", "currency": "USD", "amount_cents": 500}
        terms = {"prices": [price], "limits": {"chat_messages": rule}}
        await agree(customer, reference="MSA-1", **terms)
    else:
        path = f"/admin/accounts/{customer.id}/limits/chat_messages"
        await customer.actors.operate("PUT", path, rule, status=200)


async def messages(customer: Customer, amount: int) -> int:
    """Send so many; 0 where they are refused."""
    body = {"feature_type": "chat_messages", "usage_amount": str(amount)}
    done = await customer.call("POST", "/usage/record", body)
    assert done.status_code == 201 or done.json()["code"] == "QUOTA_EXCEEDED", done.text
    return amount if done.status_code == 201 else 0


@pytest.mark.parametrize("way", ["contract", "limit"])
async def test_a_short_first_period_that_is_begun_each_day_gives_an_agreed_limit_once(
    actors: Actors, way: str
) -> None:
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await limited(customer, way)
    for day, amount, taken in ((10, 600, 600), (11, 400, 400), (12, 1, 0)):
        await customer.advance(to=f"2027-01-{day}T10:00:00Z")
        await short(customer, day)
        assert await messages(customer, amount) == taken
    seen = (await customer.ask("GET", "/usage/current?fresh=true"))["meters"]["chat_messages"]
    assert (seen["included"], seen["used_before"], seen["remaining"]) == (
        "1000.00", "1000.00", "0",
    )  # fmt: skip
    await customer.advance(to="2027-01-20T10:00:00Z")
    await customer.subscribe("starter")
    await customer.until_subscription("active")
    assert await messages(customer, 1000) == 1000, "a cycle that is paid in full has all of it"


async def test_who_aligns_the_billing_day_has_all_of_an_agreed_limit_in_each_cycle(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await limited(customer, "limit")
    await customer.subscribed("starter", billing_day=15)
    assert await messages(customer, 1000) == 1000
    await customer.advance(to="2027-01-15T10:00:01Z")
    assert await messages(customer, 1000) == 1000


@pytest.mark.parametrize("end", [{"cancel_at": "2027-01-11T10:00:00Z"}, {"at": "now"}])
async def test_a_cycle_that_was_paid_in_full_takes_nothing_of_an_agreed_limit(
    actors: Actors, end: dict[str, str]
) -> None:
    customer = await actors.customer_on_clock(START)
    await limited(customer, "limit")
    await customer.subscribed("starter")
    assert await messages(customer, 1000) == 1000
    await customer.ask("POST", f"{SUBSCRIPTION}/cancel", end, status=200)
    await customer.advance(to="2027-01-11T10:00:01Z")
    await customer.subscribe("starter")
    await customer.until_subscription("active")
    assert await messages(customer, 1000) == 1000


async def test_a_whole_cycle_behind_a_last_period_that_an_end_cut_has_all_of_an_agreed_limit(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(START)
    await limited(customer, "limit")
    await customer.subscribed("starter")
    await customer.ask("POST", f"{SUBSCRIPTION}/cancel", {"cancel_at": CUT}, status=200)
    await customer.advance(to="2027-02-11T10:00:00Z")
    assert await messages(customer, 1000) == 1000
    await customer.advance(to=CUT)
    await customer.subscribe("starter")
    await customer.until_subscription("active")
    assert await messages(customer, 1000) == 1000
