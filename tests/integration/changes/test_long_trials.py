"""A trial that is longer than a cycle, or gets days."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.chosen_add_ons import included
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.test_given_days import extend
from tests.integration.money_seen import charged
from tests.integration.recomputed_sums import differences

START = "2027-01-10T10:00:00Z"
LIMIT = {
    "meter": "ai_responses", "included": "310", "then": "overage", "prices": {"USD": "0.02"},
}  # fmt: skip


async def on_trial(actors: Actors, days: int, terms: dict[str, Any], **more: Any) -> Customer:
    """A customer whose trial takes so many days from 10 January."""
    key = f"tried-{uuid4().hex[:8]}"
    plan = {
        "name": "Tried", "family": key, "trial_days": days, "monthly_credits": "310",
        "prices": {"month": {"USD": 1000}}, "limits": [LIMIT],
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", plan | terms)
    customer = await actors.customer_on_clock(START)
    await customer.save_card()
    await customer.subscribe(key, trial=True, **more)
    return customer


async def cycles(customer: Customer, count: int) -> list[str]:
    """The days on which this cycle and the next ones end."""
    ends = [(await customer.subscription())["cycle_end"]]
    while len(ends) < count:
        await customer.advance(to=ends[-1])
        ends.append((await customer.subscription())["cycle_end"])
    return [one[5:10] for one in ends]


async def test_each_month_of_a_long_trial_has_its_allowance_and_credits(actors: Actors) -> None:
    customer = await on_trial(actors, 70, {})
    await use(customer, "300")
    assert await cycles(customer, 3) == ["02-10", "03-10", "03-21"]
    # The last cycle is 11 of the 31 days to 10 April.
    assert await customer.credits() == 110
    assert await included(customer) == ("110", "110.00")
    assert await differences(actors.sql, [customer.uuid]) == []
    assert await cycles(customer, 2) == ["03-21", "04-21"]
    assert await customer.credits() == 310
    assert await charged(customer) == [1000]


async def test_days_in_a_trial_move_its_end_and_not_the_cycles_before(actors: Actors) -> None:
    customer = await on_trial(actors, 28, {})
    await extend(actors, customer, 20)
    assert await cycles(customer, 2) == ["02-10", "02-27"]
    assert await customer.credits() == Decimal("188.214286"), "17 of 28 days"
    await extend(actors, customer, 3)
    assert await cycles(customer, 2) == ["03-02", "04-02"]
    assert await differences(actors.sql, [customer.uuid]) == []


@pytest.mark.parametrize("trial", [30, 0])
async def test_weeks_before_the_first_whole_period_are_weeks(actors: Actors, trial: int) -> None:
    week = {"allowance": "week"} | ({} if trial else {"trial_days": 0})
    customer = await on_trial(actors, trial, week, billing_day=1)
    await customer.until_subscription("trialing" if trial else "active")
    ends = ["01-17", "01-24", "01-31", "02-07", "02-09", "02-16"]
    if not trial:
        ends = ["01-17", "01-24", "01-31", "02-01", "02-08", "02-15"]
    assert await cycles(customer, 6) == ends


async def test_days_in_a_trial_keep_its_first_period_short(actors: Actors) -> None:
    customer = await on_trial(actors, 69, {}, billing_day=1)  # until 20 March
    await extend(actors, customer, 3)
    await customer.advance(to="2027-03-24T10:00:00Z")
    assert (await customer.subscription())["current_period_end"] == "2027-04-04T10:00:00Z"
    # 12 of the 31 days from 4 March.
    assert await charged(customer) == [387]
    await customer.advance(to="2027-04-04T10:00:00Z")
    assert (await customer.subscription())["current_period_end"] == "2027-05-04T10:00:00Z"
    assert await charged(customer) == [387, 1000]
