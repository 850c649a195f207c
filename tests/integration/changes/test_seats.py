"""Seats: a plan sold so many times, with what each of them includes."""

from decimal import Decimal
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer
from tests.integration.arrears.chosen_add_ons import included
from tests.integration.arrears.overage_uses import START, records, use
from tests.integration.changes.chosen_plans import LATER, PATH, RENEWAL, change, lines, told
from tests.integration.money_seen import charged, money
from tests.integration.reversals.refunds_made import paid_for, refunded


async def team(actors: Actors, answers: str = "500", **seats: object) -> str:
    """A plan of its own, at 10.00 per seat, with these answers and 31 credits."""
    key = f"team-{uuid4().hex[:8]}"
    overage = {"meter": "ai_responses", "included": answers, "then": "overage",
               "prices": {"USD": "0.02"}}  # fmt: skip
    body = {
        "family": "teams", "name": "Team", "limits": [overage], "monthly_credits": "31",
        "seats": {"least": 2, "most": 10} | seats, "prices": {"month": {"USD": 1000}},
    }  # fmt: skip
    await actors.operate("PUT", f"/admin/plans/{key}", body)
    return key


async def seated(actors: Actors, quantity: int, answers: str = "500", **seats: object) -> Customer:
    plan = await team(actors, answers, **seats)
    customer = await actors.customer_on_clock(START)
    for other in (1, 11):
        wish = {"plan": plan, "quantity": other, "trial": False}
        await customer.refused("QUANTITY_NOT_OFFERED", "POST", PATH, wish)
    await customer.subscribed(plan, quantity=quantity)
    return customer


async def test_seats_cost_and_include_so_many_times(actors: Actors) -> None:
    customer = await seated(actors, 5)
    assert await included(customer) == ("2500", "2500.00")
    assert await customer.credits() == 155
    shown = await customer.ask("GET", "/billing/credits/balance")
    assert Decimal(shown["plan_monthly_credits"]) == 155
    await use(customer, "2600")
    await customer.advance(to=LATER)

    more = await change(customer, quantity=10)

    assert (more["quantity"], more["amount_cents"]) == (10, 10000)
    # 21 of 31 days: 5000 and 10000 of them.
    assert (await lines(customer))[1] == [("proration", -3387), ("plan", 6774)]
    # 2500 and 21 of 31 days of as many more.
    assert await included(customer) == ("4194", "4194.00")
    assert await records(customer) == [], "what was beyond five seats is within ten"
    assert await customer.credits() == 155 + Decimal(155 * 21) / 31
    await customer.refused("QUANTITY_NOT_OFFERED", "PUT", PATH, {"quantity": 11})
    fewer = await change(customer, quantity=2)
    assert (fewer["quantity"], fewer["scheduled_changes"][0]["wanted"]["quantity"]) == (10, 2)

    await customer.advance(to=RENEWAL)

    assert await charged(customer) == [5000, 3387, 2000]
    assert await included(customer) == ("1000", "1000.00")
    assert await customer.credits() == 62
    await change(customer, quantity=10)
    await change(customer, quantity=2, at="now")
    assert await money(customer) == 8000


async def test_seats_include_more_together_than_one_may(actors: Actors) -> None:
    customer = await seated(actors, 2, answers="9" * 15)
    assert await included(customer) == ("1999999999999998", "1999999999999998.00")
    whole = await customer.ask("GET", "/billing/entitlements")
    assert [one["included"] for one in whole["limits"]] == ["1999999999999998.00"]
    used = await customer.ask("GET", "/usage/current")
    assert used["meters"]["ai_responses"]["remaining"] == "1999999999999998.00"
    asked = {"feature_type": "ai_responses", "requested_amount": "1"}
    checked = await customer.ask("POST", "/quota/check", asked, status=200)
    assert checked["remaining"] == "1999999999999998.00"


@pytest.mark.parametrize(("amount", "passed"), [(None, 0), (1000, 20)])
async def test_a_refund_takes_no_credits_of_seats_that_were_paid_after_it(
    actors: Actors, amount: int | None, passed: int
) -> None:
    customer = await seated(actors, 3)
    await customer.advance(to=LATER)
    await refunded(customer, await paid_for(customer), amount, keep_subscription=True)
    # 10 of 31 days have passed. Of each seat 21 credits are for the rest.
    for quantity in (4, 5):
        await change(customer, quantity=quantity)
        assert await customer.credits() == passed + 21 * quantity
    await customer.ask("POST", f"{PATH}/cancel", {"at": "now", "refund": "credit"}, status=200)
    assert await customer.credits() == passed


async def test_seats_may_share_what_the_plan_includes(actors: Actors) -> None:
    customer = await seated(actors, 3, limits=False, credits=False)
    assert await included(customer) == ("500.00", "500.00")
    assert await customer.credits() == 31
    assert (await change(customer, quantity=4))["amount_cents"] == 4000
    assert await included(customer) == ("500.00", "500.00")
    assert await customer.credits() == 31
    assert await charged(customer) == [3000, 1000]


async def test_a_plan_without_seats_is_had_once_and_nobody_needs_to_say_so(
    actors: Actors,
) -> None:
    customer = await seated(actors, 4)
    await customer.refused("QUANTITY_NOT_OFFERED", "PUT", PATH, {"plan": "pro", "quantity": 4})
    for when in ("period_end", "now"):
        wish = {"plan": "pro", "at": when}
        seen = await customer.ask("POST", f"{PATH}/preview", wish, status=200)
        assert seen["upcoming"]["invoice"]["total_cents"] == 4900
        await change(customer, **wish)
    changed = await customer.subscription()
    assert (changed["plan"]["key"], changed["quantity"], changed["amount_cents"]) == (
        "pro", 1, 4900,
    )  # fmt: skip


async def test_its_own_version_of_a_plan_may_be_named_though_a_newer_one_is_sold(
    actors: Actors,
) -> None:
    plan = await team(actors)
    customer = await actors.customer_on_clock(START)
    await customer.subscribed(plan, quantity=2)
    sold = (await customer.ask("GET", "/billing/plans"))["data"]
    (own,) = [one["plan_id"] for one in sold if one["key"] == plan]
    newer = {"family": "teams", "name": "Teams", "seats": {"least": 2, "most": 10}}
    prices, meant = {"month": {"USD": 1200}}, "?allow_large_change=true"
    await actors.operate("PUT", f"/admin/plans/{plan}{meant}", newer | {"prices": prices})
    more = await change(customer, plan=own, quantity=3)
    assert (more["quantity"], more["amount_cents"], more["plan"]["version"]) == (3, 3000, 1)
    other = {"plan": own, "interval": "year"}
    await customer.refused("PLAN_NOT_FOUND", "PUT", PATH, other)


async def test_events_tell_what_a_subscription_is_sold_by(actors: Actors) -> None:
    customer = await seated(actors, 3)
    await change(customer, quantity=2, at="period_end")
    await customer.advance(to=RENEWAL)
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.advance(days=1)
    await customer.ask("POST", f"{PATH}/resume", status=200)
    seen = {
        kind: [
            (one["interval"], one["quantity"], one["currency"])
            for one in await told(customer, f"subscription.{kind}")
        ]
        for kind in ("created", "activated", "renewed", "restarted")
    }
    first, later = [("month", 3, "USD")], [("month", 2, "USD")]
    assert seen == {"created": first, "activated": first, "renewed": later, "restarted": later}
