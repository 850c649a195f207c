"""Prices per days, weeks, months and years: sold as catalogued, renewed on the right instants."""

import os
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from billing.catalog.plans.rules import parse_interval, show_interval
from billing.core.periods import Interval
from tests.integration.actors import Actors, Customer, Json, instant
from tests.unit.golden.cases import cases

PRICE = 1200
PATH = "/billing/subscription"


async def on_sale(actors: Actors, *every: str, **more: Any) -> str:
    """A plan sold by these intervals, with credits in each of its cycles."""
    key = f"plan-{uuid4().hex[:8]}"
    body: Json = {
        "name": "Plan", "family": "sold", "monthly_credits": "10", "allowance": every[0],
        "prices": {one: {"USD": {"amount_minor": PRICE}} for one in every},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", body | more)
    return key


async def subscribed(
    actors: Actors, at: str, every: str, zone: str = "UTC", **more: Any
) -> Customer:
    """A customer since that instant, charged by a saved card."""
    customer = await actors.customer_on_clock(at, zone=zone)
    await customer.save_card()
    begun = await customer.subscribe(await on_sale(actors, every), interval=every, **more)
    assert parse_interval(begun["interval"]) == parse_interval(every)
    return customer


async def period(customer: Customer) -> list[datetime]:
    """The current period, which is the cycle too."""
    now = await customer.subscription()
    found = [instant(now[f"current_period_{end}"]) for end in ("start", "end")]
    assert [instant(now[f"cycle_{end}"]) for end in ("start", "end")] == found
    return found


# All of them are held against the rule itself (tests/unit/golden).
@pytest.mark.parametrize(("given", "expected"), cases("periods", "period")[::3])
async def test_a_customer_is_billed_for_the_periods_that_others_bill(
    actors: Actors, given: Json, expected: Json
) -> None:
    every = show_interval(Interval.model_validate(given["interval"]))
    customer = await subscribed(actors, given["anchor"], every, zone=given["zone"])
    if instant(given["at"]) > instant(given["anchor"]):
        await customer.advance(to=given["at"])
    assert await period(customer) == [instant(expected[name]) for name in ("start", "end")]
    invoices = await customer.invoices()
    assert {(one["status"], one["total_minor"]) for one in invoices} == {("paid", PRICE)}
    assert invoices[-1]["period_start"] == instant(expected["start"])
    assert len(await customer.effects()) == len(await customer.grants("plan")) == len(invoices)


# The first of them lives for a year: with WHOLE=1.
@pytest.mark.parametrize(
    ("given", "expected"), cases("periods", "billing_day")[0 if os.environ.get("WHOLE") else 1 :]
)
async def test_a_billing_day_begins_the_periods_that_others_bill(
    actors: Actors, given: Json, expected: Json
) -> None:
    every = show_interval(Interval.model_validate(given["interval"]))
    day = given["billing_day"]
    customer = await subscribed(actors, given["begins"], every, given["zone"], billing_day=day)
    if instant(given["at"]) > instant(given["begins"]):
        await customer.advance(to=given["at"])
    assert await period(customer) == [instant(expected[name]) for name in ("start", "end")]
    first, *later = (one["total_minor"] for one in await customer.invoices())
    assert 0 < first < PRICE
    assert set(later) <= {PRICE}


@pytest.mark.parametrize(
    ("every", "until", "starts"),
    [
        ("week", "2027-02-14T10:00:00Z", ["01-31", "02-07", "02-14"]),
        ("10 days", "2027-03-01T10:00:00Z", ["01-31", "02-10", "02-20"]),
        ("2 weeks", "2027-03-14T10:00:00Z", ["01-31", "02-14", "02-28", "03-14"]),
        ("3 months", "2027-10-31T10:00:00Z", ["01-31", "04-30", "07-31", "10-31"]),
        ("2 years", "2029-01-31T10:00:00Z", ["01-31", "01-31"]),
    ],
)
async def test_each_period_is_invoiced_charged_and_credited_on_its_day(
    actors: Actors, every: str, until: str, starts: list[str]
) -> None:
    customer = await subscribed(actors, "2027-01-31T10:00:00Z", every)
    await customer.advance(to=until)
    invoices = await customer.invoices()
    assert [f"{one['period_start']:%m-%d}" for one in invoices] == starts
    assert [f"{one['created_at']:%m-%d}" for one in await customer.grants("plan")] == starts
    assert [effect["amount"] for effect in await customer.effects()] == [PRICE] * len(starts)
    assert await customer.credits() == 10, "those of a cycle end with it"


async def test_a_price_per_three_months_gives_its_credits_every_month(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-31T10:00:00Z")
    await customer.save_card()
    key = await on_sale(actors, "month", "3 months")
    await customer.subscribe(key, interval="3 months")
    await customer.advance(to="2027-04-30T09:59:59Z")
    granted = [f"{one['created_at']:%m-%d}" for one in await customer.grants("plan")]
    assert granted == ["01-31", "02-28", "03-31"]
    assert len(await customer.effects()) == 1


async def test_a_period_of_three_days_not_paid_is_pursued_beside_the_next(actors: Actors) -> None:
    customer = await subscribed(actors, "2027-01-31T10:00:00Z", "3 days")
    await customer.script("insufficient_funds", "insufficient_funds")
    await customer.advance(days=4)
    assert (await customer.subscription())["status"] == "past_due"
    await customer.advance(days=9)
    assert (await customer.subscription())["status"] == "active"
    invoices = await customer.invoices()
    assert [one["status"] for one in invoices] == ["paid"] * 5


async def test_ten_days_of_which_eight_were_served_are_owed_for_eight(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-31T10:00:00Z")
    await customer.save_card()
    key = await on_sale(actors, "10 days", dunning={"final_action": "cancel"})
    await customer.subscribe(key, interval="10 days")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-02-18T10:00:00Z")
    assert (await customer.subscription())["status"] == "canceled"
    owed = (await customer.invoices())[-1]
    assert f"{owed['period_start']:%m-%d} {owed['period_end']:%m-%d}" == "02-10 02-20"
    assert (owed["total_minor"], owed["amount_credited_minor"]) == (PRICE, PRICE * 2 // 10)


async def test_what_is_to_come_of_a_daily_price_is_shown_day_by_day(actors: Actors) -> None:
    customer = await subscribed(actors, "2027-01-31T10:00:00Z", "day")
    coming = (await customer.ask("GET", "/billing/timeline"))["future"]
    renewals = [one["at"] for one in coming if one["words"].startswith("renew Plan")]
    assert renewals[:3] == [f"2027-02-0{day}T10:00:00Z" for day in (1, 2, 3)]


async def test_a_plan_is_sold_by_the_intervals_of_its_prices_only(actors: Actors) -> None:
    customer = await actors.customer()
    key = await on_sale(actors, "week", "2 weeks", "3 months")
    listed = (await customer.ask("GET", "/billing/plans"))["data"]
    (plan,) = [one for one in listed if one["key"] == key]
    assert {one["interval"] for one in plan["prices"]} == {"week", "2 weeks", "3 months"}
    body = {"plan": key, "trial": False}
    problem = await customer.refused("INTERVAL_NOT_OFFERED", "POST", PATH, body)
    assert (
        problem["detail"]
        == f"plan {key} is not sold at this interval; available: 3 months, week, 2 weeks"
    )
    for words in ("fortnight", "0 weeks", "367 days", "", 3):
        await customer.refused("VALIDATION_FAILED", "POST", PATH, body | {"interval": words})
    await customer.refused(
        "CURRENCY_MISMATCH", "POST", PATH, body | {"interval": "week", "currency": "EUR"}
    )


@pytest.mark.parametrize(
    ("allowance", "every"), [("month", "week"), ("month", "31 days"), ("30 days", "month")]
)
async def test_a_period_that_is_no_whole_number_of_cycles_is_refused(
    actors: Actors, allowance: str, every: str
) -> None:
    body = {
        "name": "Plan", "family": "sold", "allowance": allowance,
        "prices": {every: {"USD": {"amount_minor": PRICE}}},
    }  # fmt: skip
    problem = await actors.operate("PUT", f"/admin/plans/p{uuid4().hex[:8]}", body, status=422)
    assert f"allowance: {every}" in problem["detail"]
