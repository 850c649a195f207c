"""Days that an operator gave: the price that was paid covers them, so they cost nothing."""

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, wait_for
from tests.integration.arrears.chosen_add_ons import choose
from tests.integration.arrears.contract_terms import agree
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import PATH, change, lines
from tests.integration.changes.test_endings import NOW
from tests.integration.changes.test_previews import preview
from tests.integration.money_seen import charged, money
from tests.integration.recomputed_sums import differences
from tests.integration.reversals.refunds_made import paid_for, refunded

BEGUN = "2027-03-17T12:00:00Z"
# Of the 40 days until 26 April 25 are left.
DAY_15 = "2027-04-01T12:00:00Z"
GIVEN = "2027-04-18T12:00:00Z"


async def extend(actors: Actors, customer: Customer, days: int = 9) -> None:
    path = f"/admin/accounts/{customer.id}/subscription/extend"
    gift = {"days": days, "reason": "an outage of ours"}
    await actors.operate("POST", path, gift, status=200, key=str(uuid4()))


async def extended(actors: Actors, **more: Any) -> Customer:
    customer = await actors.customer_on_clock(BEGUN)
    await customer.subscribed("basic", **more)
    await extend(actors, customer)
    return customer


async def alike(actors: Actors) -> str:
    """Another plan at the price of basic."""
    key = f"alike-{uuid4().hex[:8]}"
    body = {"name": "Alike", "family": key, "prices": {"month": {"USD": 1900}}}
    await actors.operate("PUT", f"/admin/plans/{key}", body)
    return key


@pytest.mark.parametrize("at", [BEGUN, DAY_15, GIVEN])
async def test_another_plan_at_the_same_price_costs_nothing(actors: Actors, at: str) -> None:
    customer = await extended(actors)
    if at != BEGUN:
        await customer.advance(to=at)
    seen = await preview(customer, plan=await alike(actors))
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 0)
    await change(customer, plan=seen["plan"], preview_token=seen["preview_token"])
    assert (await charged(customer), await money(customer)) == ([1900], 0)
    assert (await customer.published()).count("evt.billing.subscription.extended") == 1


async def test_more_is_charged_as_so_much_of_the_difference_as_is_left(actors: Actors) -> None:
    customer = await extended(actors)
    await customer.advance(to=DAY_15)
    await change(customer, plan="pro")
    assert await charged(customer) == [1900, 3000 * 25 // 40]
    await customer.advance(to=GIVEN)
    await change(customer, plan="basic", at="now")
    assert await money(customer) == 600, "8 of 40 days of the difference"
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) == 600 + 380


@pytest.mark.parametrize(
    ("at", "credited", "uses", "meanwhile"),
    # Half of all 40 days; then 36 of them, behind the end that was charged.
    [(DAY_15, 3063, "2500", 3063 * 5 // 25 + 1), (GIVEN, 980, "4500", 980 * 4 // 8)],
)
async def test_what_is_used_while_a_change_waits_is_a_part_of_all_the_days_that_are_left(
    actors: Actors, at: str, credited: int, uses: str, meanwhile: int
) -> None:
    customer = await actors.customer_on_clock(BEGUN)
    await customer.subscribed("pro")
    await extend(actors, customer)
    await customer.advance(to=at)
    year = {"interval": "year", "payment_method": "card"}
    asked = await customer.ask("PUT", PATH, year, status=200)
    await use(customer, uses)
    await customer.pay(asked)
    used = ("used_meanwhile", meanwhile)
    found = await wait_for(
        lambda: lines(customer), "what was used is billed", lambda seen: len(seen) == 3
    )
    assert ("proration", -credited) in found[1]
    assert found[2] == [used]


async def test_days_that_come_after_the_end_of_a_period_whose_renewal_is_late_are_covered(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(BEGUN)
    await customer.subscribed("basic")
    await customer.rows(
        "UPDATE accounts SET clock_at = '2027-04-17T13:00:00Z' WHERE id = %(me)s RETURNING id"
    )
    await extend(actors, customer, days=3)
    seen = await preview(customer, plan=await alike(actors))
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 0)
    await customer.advance(to="2027-04-18T12:00:00Z")
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert await money(customer) == round(1900 * 2 / 34)


async def test_days_that_come_after_a_change_or_in_a_short_period_cost_nothing(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(BEGUN)
    await customer.subscribed("basic")
    await customer.advance(days=5)
    await change(customer, plan=await alike(actors))
    await customer.advance(days=5)
    for _ in range(2):
        await extend(actors, customer, days=4)
    await customer.advance(to=DAY_15)
    assert (await preview(customer, plan="basic"))["due_now_cents"] == 0

    customer = await extended(actors, billing_day=27)
    (short,) = await charged(customer)
    assert short == 679, "10 of the 28 days from 27 February"
    await customer.advance(days=12)
    seen = await preview(customer, plan=await alike(actors))
    assert (seen["due_now_cents"], seen["credited_cents"]) == (0, 0)


async def test_an_end_and_a_new_period_give_back_what_is_left_of_all_the_days(
    actors: Actors,
) -> None:
    for at, left in ((DAY_15, 25), (GIVEN, 8)):
        for wanted in ({"interval": "year"}, None):
            customer = await extended(actors)
            await customer.advance(to=at)
            if wanted is None:
                await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
                assert await money(customer) == round(1900 * left / 40)
            else:
                await change(customer, **wanted)
                assert await charged(customer) == [1900, 19000 - round(1900 * left / 40)]


async def test_the_cycles_of_a_year_stay_whole(actors: Actors) -> None:
    """The month after the 28th of February ends on another day than seven days later."""
    customer = await actors.customer_on_clock("2027-02-28T18:00:00Z")
    await customer.subscribed("basic", interval="yearly")
    await customer.advance(to="2027-04-01T10:00:00Z")
    await extend(actors, customer, days=7)
    ends = [(await customer.subscription())["cycle_end"]]
    for _ in range(3):
        await customer.advance(to=ends[-1])
        ends.append((await customer.subscription())["cycle_end"])
    assert [one[:10] for one in ends] == ["2027-05-06", "2027-06-06", "2027-07-06", "2027-08-06"]


async def test_money_that_goes_back_takes_the_credits_of_a_cycle_that_got_days(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock(BEGUN)
    quarter = {"plan": "basic", "interval": "3 months", "currency": "USD", "amount_cents": 4000}
    await agree(customer, prices=[quarter])
    await customer.subscribed("basic", interval="3 months")
    await extend(actors, customer)
    # The third cycle ends behind the 17 June until which the invoice charged.
    await customer.advance(to="2027-06-20T12:00:00Z")
    assert (await customer.subscription())["cycle_end"] == "2027-06-26T12:00:00Z"
    assert await customer.credits() == 100
    await refunded(customer, await paid_for(customer))
    ended = await customer.until_subscription("canceled")
    assert ended["end_reason"] == "its payment went back"
    assert await customer.credits() == 0


async def test_days_that_come_to_a_period_that_an_end_had_cut_leave_its_rest_and_its_billing_day(
    actors: Actors,
) -> None:
    customer = await actors.customer_on_clock("2027-01-01T12:00:00Z")
    await customer.subscribed("basic")
    date = {"cancel_at": "2027-02-10T12:00:00Z"}
    await customer.ask("POST", f"{PATH}/cancel", date, status=200)
    await customer.advance(to="2027-02-02T12:00:00Z")
    await customer.ask("POST", f"{PATH}/reactivate", status=200)
    await extend(actors, customer, days=3)
    ends = [(await customer.subscription())["current_period_end"][:10]]
    for _ in range(2):
        await customer.advance(to=f"{ends[-1]}T12:00:00Z")
        ends.append((await customer.subscription())["current_period_end"][:10])
    assert ends == ["2027-02-13", "2027-03-04", "2027-04-04"]
    # 9 and 19 of the 28 days of a month, and a whole one.
    assert await charged(customer) == [1900, 611, 1289, 1900]
    assert await differences(actors.sql, [customer.uuid]) == []


@pytest.mark.parametrize("way", ["cancel", "pause"])
async def test_an_unpaid_period_is_owed_for_the_days_that_were_served(
    actors: Actors, way: str
) -> None:
    customer = await actors.customer_on_clock(BEGUN)
    await customer.subscribed("basic")
    await customer.script("insufficient_funds", then="last")
    await customer.advance(to="2027-04-17T12:00:00Z")
    await extend(actors, customer, days=10)
    later = datetime.fromisoformat("2027-04-17T12:00:00Z") + timedelta(days=2)
    await customer.advance(to=later.isoformat().replace("+00:00", "Z"))
    await customer.ask("POST", f"{PATH}/{way}", {"at": "now"}, status=200)
    (note,) = await customer.rows("SELECT amount_minor FROM credit_notes WHERE account_id = %(me)s")
    assert note["amount_minor"] == 1900 * 38 // 40


async def test_less_of_an_add_on_gives_back_what_is_left_of_all_the_days(actors: Actors) -> None:
    customer = await actors.customer_on_clock(BEGUN)
    await customer.subscribed("basic")
    await choose(customer, ai_500=2)
    await extend(actors, customer)
    await customer.advance(to=DAY_15)
    await change(customer, add_ons=[{"add_on": "ai-500", "quantity": 1}], at="now")
    # 25 of 40 days of one of 700 cents.
    assert await money(customer) == 875 - 438
