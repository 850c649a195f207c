"""Periods that are not whole: a chosen billing day, and days that an operator gives."""

from decimal import Decimal
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.chosen_add_ons import included
from tests.integration.arrears.overage_uses import START, use
from tests.integration.changes.chosen_plans import LATER, PATH, RENEWAL, begun, change
from tests.integration.money_seen import charged
from tests.integration.recomputed_sums import differences

LIMITS = "/billing/entitlements"


async def test_a_short_cycle_includes_its_part_with_add_ons(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    wish = {"plan": "basic", "trial": False, "billing_day": 2}
    extra = {"add_ons": [{"add_on": "ai-500", "quantity": 2}]}
    await customer.pay(await customer.ask("POST", PATH, wish))
    await customer.until_subscription("active")
    # One of the 31 days of 1900 cents and of 500 responses.
    assert await charged(customer) == [61]
    assert await included(customer) == ("16", "16.00")
    await customer.advance(to="2027-01-01T22:00:00Z")
    await customer.ask("PUT", PATH, extra, status=200)
    # Half a day of 1000 more.
    assert await included(customer) == ("32", "32.00")
    assert (await use(customer, "33"))["total_cost"] == "0.02"
    await customer.advance(to="2027-01-02T10:00:00Z")
    assert await included(customer) == ("1500", "1500.00")

    # The last period is ten of its 28 days.
    date = {"cancel_at": "2027-02-12T10:00:00Z"}
    await customer.ask("POST", f"{PATH}/cancel", date, status=200)
    await customer.advance(to="2027-02-02T10:00:00Z")
    assert await included(customer) == ("536", "536.00")
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_billing_day_makes_the_first_period_short(actors: Actors) -> None:
    customer = await actors.customer_on_clock(START)
    wish = {"plan": "basic", "trial": False, "billing_day": 31}
    week = wish | {"interval": "week"}
    await customer.refused("VALIDATION_FAILED", "POST", PATH, week)
    await customer.pay(await customer.ask("POST", PATH, wish))
    begins = await customer.until_subscription("active")
    assert begins["current_period_end"] == "2027-01-31T10:00:00Z"
    # 30 of 31 days.
    assert await charged(customer) == [1839]
    assert await customer.credits() == Decimal("96.774194")
    assert await included(customer) == ("484", "484.00")
    assert (await customer.ask("GET", f"{LIMITS}/storage_gb"))["limit"]["included"] == "10.00"
    await customer.advance(to=LATER)
    await change(customer, plan="pro")
    assert await charged(customer) == [1839, 3161 - 1226], "20 of the 31 days are left"
    assert await customer.credits() == Decimal("96.774194") + Decimal("258.064516")
    await customer.advance(to="2027-03-01T10:00:00Z")
    assert await charged(customer) == [1839, 1935, 4900, 4900]
    assert await included(customer) == ("5000.00", "5000.00")
    assert (await customer.subscription())["current_period_end"] == "2027-03-31T10:00:00Z"


async def test_a_billing_day_that_a_month_has_not_is_its_last_day(actors: Actors) -> None:
    """A subscription that begins on that day has a whole period, and a whole cycle."""
    customer = await actors.customer_on_clock("2027-04-30T10:00:00Z")
    await customer.subscribed("basic", billing_day=31)
    begun = await customer.subscription()
    assert begun["current_period_end"] == begun["cycle_end"] == "2027-05-31T10:00:00Z"
    assert (await charged(customer), await customer.credits()) == ([1900], Decimal(100))
    assert await included(customer) == ("500.00", "500.00")
    assert await differences(actors.sql, [customer.uuid]) == []


@pytest.mark.parametrize("wanted", [{"at": "now"}, {}])
async def test_a_trial_that_gets_another_interval_keeps_its_billing_day(
    actors: Actors, wanted: dict[str, str]
) -> None:
    customer = await actors.customer_on_clock("2027-01-25T10:00:00Z")
    await customer.save_card()
    await customer.subscribe("basic", trial=True, interval="year", billing_day=31)
    await change(customer, interval="month", **wanted)
    await customer.advance(to="2027-02-08T11:00:00Z")
    assert (await customer.subscription())["current_period_end"] == "2027-02-28T10:00:00Z"
    # 20 of the 30 days from 29 January.
    assert await charged(customer) == [1267]


async def test_a_trial_keeps_its_billing_day_through_weeks(actors: Actors) -> None:
    terms = {
        "name": "Weeks", "family": "weeks", "trial_days": 14, "allowance": "week",
        "prices": {"month": {"USD": 3100}, "week": {"USD": 700}},
    }  # fmt: skip
    await actors.operate("PUT", "/admin/plans/weeks", terms)
    customer = await actors.customer_on_clock("2027-01-25T10:00:00Z")
    await customer.save_card()
    await customer.subscribe("weeks", trial=True, billing_day=31)
    await change(customer, interval="week", at="now")
    assert (await customer.ask("GET", f"{PATH}/upcoming"))["at"] == "2027-02-08T10:00:00Z"
    await change(customer, interval="month", at="now")
    await customer.advance(to="2027-02-08T11:00:00Z")
    assert (await customer.subscription())["current_period_end"] == "2027-02-28T10:00:00Z"


async def test_a_changed_zone_counts_from_the_next_period_on(actors: Actors) -> None:
    customer = await begun(actors)
    await moved_to_los_angeles(actors, customer)
    assert (await customer.subscription())["current_period_end"] == RENEWAL
    # Two in the morning there; summer time begins on 14 March.
    ends = ["2027-03-01T10:00:00Z", "2027-04-01T09:00:00Z", "2027-05-01T09:00:00Z"]
    assert await next_ends(customer, 3) == ends
    assert await charged(customer) == [1900] * 4


async def test_a_year_keeps_its_cycles_whole_in_another_zone(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-31T00:30:00Z")
    await customer.subscribed("basic", interval="yearly")
    await moved_to_los_angeles(actors, customer)
    await customer.advance(to="2028-01-31T00:30:00Z")
    cycles = [(await customer.subscription())["cycle_end"]]
    for _ in range(3):
        await customer.advance(to=cycles[-1])
        cycles.append((await customer.subscription())["cycle_end"])
    # The 30th there, at half past four in the afternoon.
    assert cycles == [
        "2028-03-01T00:30:00Z", "2028-03-30T23:30:00Z", "2028-04-30T23:30:00Z",
        "2028-05-30T23:30:00Z",
    ]  # fmt: skip
    assert len(await customer.grants("plan")) == 12 + 4
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_a_free_month_is_not_lost_between_two_zones(actors: Actors) -> None:
    key = f"plan-{uuid4().hex[:8]}"
    terms = {
        "name": "Free",
        "family": key,
        "monthly_credits": "50",
        "prices": {"month": {"USD": 0}},
    }
    await actors.operate("PUT", f"/admin/plans/{key}", terms)
    customer = await actors.customer_on_clock("2026-12-31T23:30:00Z", zone="Europe/Berlin")
    await customer.subscribe(key)
    named = {"external_id": customer.account["external_id"], "zone": "UTC"}
    await actors.operate("POST", "/admin/accounts", named, status=200)
    await next_ends(customer, 2)
    assert len(await customer.grants("plan")) == 3


async def test_an_end_at_a_date_is_not_moved_by_another_zone(actors: Actors) -> None:
    customer = await begun(actors)
    await moved_to_los_angeles(actors, customer)
    date = {"cancel_at": "2027-04-01T10:00:00Z"}
    await customer.ask("POST", f"{PATH}/cancel", date, status=200)
    assert await next_ends(customer, 2) == ["2027-03-01T10:00:00Z", "2027-04-01T10:00:00Z"]
    await customer.advance(to="2027-04-01T10:00:00Z")
    assert (await customer.subscription())["status"] == "canceled"
    assert await charged(customer) == [1900] * 3


async def test_a_resumption_begins_a_year_in_the_zone_of_now(actors: Actors) -> None:
    customer = await actors.customer_on_clock("2027-01-05T10:00:00Z")
    await customer.subscribed("basic", interval="yearly")
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await moved_to_los_angeles(actors, customer)
    await customer.advance(to="2027-01-31T03:00:00Z")
    await customer.ask("POST", f"{PATH}/resume", status=200)
    await customer.until_subscription("active")
    # It began on the 30th there, at seven in the evening; summer time begins on 14 March.
    cycles = []
    for _ in range(3):
        cycles.append((await customer.subscription())["cycle_end"])
        await customer.advance(to=cycles[-1])
    assert cycles == ["2027-03-01T03:00:00Z", "2027-03-31T02:00:00Z", "2027-05-01T02:00:00Z"]
    assert await differences(actors.sql, [customer.uuid]) == []


async def moved_to_los_angeles(actors: Actors, customer: Customer) -> None:
    named = {"external_id": customer.account["external_id"], "zone": "America/Los_Angeles"}
    await actors.operate("POST", "/admin/accounts", named, status=200)


async def next_ends(customer: Customer, renewals: int) -> list[str]:
    """The end of each period that begins, renewal by renewal."""
    ends = []
    for _ in range(renewals):
        seen = await customer.subscription()
        await customer.advance(to=seen["current_period_end"])
        ends.append((await customer.subscription())["current_period_end"])
    return ends


async def test_an_operator_gives_days_and_everything_after_them_moves(actors: Actors) -> None:
    customer = await begun(actors)
    await customer.advance(to=LATER)
    await customer.ask("POST", f"{PATH}/pause", status=200)
    path = f"/admin/accounts/{customer.id}/subscription/extend"
    gift = {"days": 10, "reason": "an outage of ours"}
    seen = await actors.operate("POST", f"{path}?dry_run=true", gift, status=200)
    assert (seen["due_now_cents"], seen["upcoming"]["at"]) == (0, "2027-02-11T10:00:00Z")
    extended = await actors.operate("POST", path, gift, status=200, key=str(uuid4()))
    assert extended["current_period_end"] == extended["cycle_end"] == "2027-02-11T10:00:00Z"
    (planned,) = extended["scheduled_changes"]
    assert planned["effective_at"] == extended["current_period_end"]
    await customer.ask("DELETE", f"{PATH}/changes/{planned['change_id']}", status=200)
    assert (await use(customer, "700"))["total_cost"] == "4.00"

    await customer.advance(to=RENEWAL)
    assert await charged(customer) == [1900]
    await customer.advance(to="2027-02-12T10:00:00Z")

    assert await charged(customer) == [1900, 1900 + 400]
    assert (await customer.subscription())["current_period_end"] == "2027-03-11T10:00:00Z"
    await customer.ask("POST", f"{PATH}/cancel", {"cancel_at": "2027-03-01T10:00:00Z"}, status=200)
    refused = await actors.client.post(
        f"/api/v1{path}", json=gift, headers=actors.headers("*", "admin", str(uuid4()))
    )
    assert refused.json()["code"] == "SUBSCRIPTION_STATE"
