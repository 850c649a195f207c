"""An allowance that is used while a change waits for its payment is billed with the change."""

from typing import Any
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json, wait_for
from tests.integration.arrears.chosen_add_ons import included
from tests.integration.arrears.contract_terms import agree
from tests.integration.arrears.overage_uses import use
from tests.integration.changes.chosen_plans import PATH, begun, lines
from tests.integration.changes.test_endings import NOW
from tests.integration.money_seen import charged, money
from tests.integration.operator_acts import check_books, void
from tests.integration.recomputed_sums import differences

YEAR = {"interval": "year", "payment_method": "card"}
GROWTH = {"plan": "growth", "payment_method": "card"}


async def newest(customer: Customer, *, count: int) -> list[tuple[str, int]]:
    """Kind and cents of the lines of the newest invoice, once there are so many."""
    found = await wait_for(
        lambda: lines(customer), f"{count} invoices", lambda seen: len(seen) == count
    )
    return found[-1]


@pytest.mark.parametrize("wish", [YEAR, GROWTH], ids=["year", "growth"])
async def test_an_allowance_used_while_a_change_waits_is_charged(
    actors: Actors, wish: dict[str, Any]
) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(days=1)
    asked = await customer.ask("PUT", PATH, wish, status=200)
    await use(customer, "2500")
    await customer.pay(asked)
    assert await newest(customer, count=3) == [("used_meanwhile", 2292)], "14.5 of 31 days"
    await wait_for(lambda: charged(customer), "all is paid", lambda seen: len(seen) == 3)
    paid = sum(await charged(customer))
    await customer.ask("POST", f"{PATH}/cancel", NOW, status=200)
    assert paid - await money(customer) == 2450, "half of the month is used"
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_use_beyond_the_plan_while_a_change_waits_is_billed_and_can_be_taken_back(
    actors: Actors,
) -> None:
    customer = await begun(actors)
    await customer.advance(to="2027-01-11T10:00:00Z")
    asked = await customer.ask("PUT", PATH, YEAR, status=200)
    await customer.advance(to="2027-01-11T16:00:00Z")
    recorded = await use(customer, "600")
    await customer.pay(asked)
    assert ("usage", 200) in await newest(customer, count=3)
    await wait_for(lambda: charged(customer), "all is paid", lambda seen: len(seen) == 3)
    voided = await void(actors, recorded)
    assert voided["balance_cents"] == 200
    await check_books(customer)


async def test_nothing_used_while_a_change_waits_is_charged_nothing(actors: Actors) -> None:
    customer = await begun(actors, "pro")
    await customer.pay(await customer.ask("PUT", PATH, YEAR, status=200))
    await wait_for(lambda: charged(customer), "the year is paid", lambda seen: len(seen) == 2)
    assert len(await lines(customer)) == 2


@pytest.mark.parametrize("waits", [True, False], ids=["meanwhile", "before"])
async def test_credits_of_the_time_that_is_billed_stay(actors: Actors, waits: bool) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(days=1)
    if not waits:
        await use(customer, "5000")
    asked = await customer.ask("PUT", PATH, YEAR, status=200)
    if waits:
        await use(customer, "5000")
    await customer.pay(asked)
    paid = 4900 + 49000
    await wait_for(lambda: charged(customer), "all is paid", lambda seen: sum(seen) == paid)
    wanted = 1000  # of the month that is used, and of the new one
    await wait_for(customer.credits, "they are there", lambda seen: seen == wanted)


async def test_time_whose_credits_are_spent_while_a_change_waits_is_charged(
    actors: Actors,
) -> None:
    customer = await begun(actors, "pro")
    await customer.advance(days=10)
    wish = {"plan": "basic", "interval": "year", "payment_method": "card"}
    asked = await customer.ask("PUT", PATH, wish, status=200)
    paid = {"product_id": "gpt-4", "billing_method": "credit_consumption"}
    await customer.ask("POST", "/usage/record", paid | {"usage_amount": "250000"}, status=201)
    assert await customer.credits() == 0
    await customer.pay(asked)
    # 100 of 500 credits come with the new plan: they are those of a fifth of the month.
    ((kind, minor),) = await newest(customer, count=3)
    assert (kind, minor) == ("used_meanwhile", round(4900 * (21 - 31 * 100 / 500) / 31))
    assert await customer.credits() == 0
    assert await differences(actors.sql, [customer.uuid]) == []


@pytest.mark.parametrize("interval", ["year", "2 years"])
async def test_a_cycle_that_begins_while_a_change_waits_has_the_new_plans_credits(
    actors: Actors, interval: str
) -> None:
    wish = {"plan": "enterprise", "interval": interval}
    customer = await actors.customer_on_clock("2027-01-01T10:00:00Z")
    price = wish | {"currency": "USD", "amount_cents": 900_000}
    await agree(customer, prices=[price])
    await customer.subscribed("pro", interval="year")
    await customer.advance(to="2027-02-01T09:00:00Z")
    asked = await customer.ask("PUT", PATH, wish | {"payment_method": "card"}, status=200)
    await customer.advance(to="2027-02-01T10:30:00Z")
    assert await customer.credits() == 500
    await customer.pay(asked)
    await wait_for(customer.credits, "they are there", lambda seen: seen == 5000)
    assert await differences(actors.sql, [customer.uuid]) == []


async def with_more(actors: Actors, then: str) -> tuple[Customer, list[str], str]:
    """A plan of one answer with 100 more at 10.00, the add-ons of it, and a dearer plan alike."""
    stem = f"waits-{uuid4().hex[:8]}"
    keys = [f"{stem}-x", f"{stem}-y"]
    for plan, minor in ((stem, 1000), (f"{stem}-dear", 2500)):
        add_ons = [
            {"key": key, "name": key, "meter": meter, "units": units, "prices": {"USD": price}}
            for key, meter, units, price in (
                (keys[0], "ai_responses", "100", 1000), (keys[1], "storage_gb", "1", 1200),
            )
        ]  # fmt: skip
        limits: list[Json] = [{"meter": "ai_responses", "included": "1", "then": then},
                              {"meter": "storage_gb", "included": "1", "then": then}]  # fmt: skip
        if then == "overage":
            limits = [one | {"prices": {"USD": "0.50"}} for one in limits]
        body = {"name": plan, "family": stem, "prices": {"month": {"USD": minor}},
                "add_ons": add_ons, "limits": limits}  # fmt: skip
        await actors.operate("PUT", f"/admin/plans/{plan}", body)
    customer = await begun(actors, stem)
    more = {"add_ons": [{"add_on": keys[0], "quantity": 1}]}
    await customer.ask("PUT", PATH, more, status=200)
    return customer, keys, f"{stem}-dear"


@pytest.mark.parametrize(
    ("then", "uses", "billed"),
    [("block", "101", 1000), ("overage", "101", 1000), ("overage", "51", 500), ("block", "1", 0)],
)
async def test_units_that_are_used_while_their_removal_waits_are_charged(
    actors: Actors, then: str, uses: str, billed: int
) -> None:
    customer, (_, other), _ = await with_more(actors, then)
    wish = {"add_ons": [{"add_on": other, "quantity": 1}], "at": "now", "payment_method": "card"}
    asked = await customer.ask("PUT", PATH, wish, status=200)
    assert (await use(customer, uses))["total_cost"] == "0", "the add-on is there until it is paid"
    await customer.pay(asked)
    await wait_for(
        customer.subscription,
        "it is applied",
        lambda seen: [one["add_on"] for one in seen["add_ons"]] == [other],
    )
    if billed:
        assert await newest(customer, count=4) == [("used_meanwhile", billed)]
    paid = [1000, 1000, 200, *([billed] if billed else [])]
    await wait_for(lambda: charged(customer), "all is paid", lambda seen: seen == paid)
    assert (await included(customer))[0] == uses, "what is paid for stays"
    assert await differences(actors.sql, [customer.uuid]) == []


async def test_units_that_are_used_while_a_change_of_plan_removes_them_are_charged(
    actors: Actors,
) -> None:
    customer, _, dear = await with_more(actors, "block")
    wish = {"plan": dear, "add_ons": [], "at": "now", "payment_method": "card"}
    asked = await customer.ask("PUT", PATH, wish, status=200)
    await use(customer, "101")
    await customer.pay(asked)
    assert await newest(customer, count=4) == [("used_meanwhile", 1000)]
    assert (await included(customer))[0] == "101"
    await check_books(customer)
