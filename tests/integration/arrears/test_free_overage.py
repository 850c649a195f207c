"""Free units and uses beyond a plan's limit come once a cycle, however many cycles begin."""

from decimal import Decimal
from typing import Final
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Customer, Json
from tests.integration.arrears.overage_uses import lines
from tests.integration.changes.chosen_plans import PATH, begun_by_card, change
from tests.integration.coupons.coupons_made import coupon
from tests.integration.money_seen import money
from tests.integration.recomputed_sums import differences

FREE_UNITS: Final[Json] = {"model": "per_unit", "unit_price": "0.01", "free_units": "100"}
GRADUATED: Final[Json] = {
    "model": "graduated", "free_units": "40",
    "tiers": [{"up_to": "60", "unit_price": "0"}, {"unit_price": "0.01"}],
}  # fmt: skip
VOLUME: Final[Json] = {**GRADUATED, "model": "volume"}
PERCENTAGE: Final[Json] = {
    "model": "percentage",
    "percentage": {"percent": "1", "fixed_price": "1", "free_transactions": 3},
}


async def sold(
    actors: Actors, price: Json | None, *, dollars: int = 15, included: str = "0"
) -> str:
    """A plan whose answers beyond `included` cost this; None: it does not limit them."""
    key = f"over-{uuid4().hex[:8]}"
    limit = {
        "meter": "ai_responses", "included": included, "then": "overage", "prices": {"USD": price},
    }  # fmt: skip
    prices = {"month": {"USD": dollars * 100}, "year": {"USD": dollars * 1000}}
    terms = {"family": "over", "name": "O", "limits": [limit] if price else [], "prices": prices}
    await actors.operate("PUT", f"/admin/plans/{key}", terms)
    return key


async def costs(customer: Customer, units: int) -> Decimal:
    """Use so many answers, and return their cost."""
    body = {"feature_type": "ai_responses", "usage_amount": str(units)}
    answer = await customer.ask("POST", "/usage/record", body, status=201)
    return Decimal(answer["total_cost"])


async def anew(actors: Actors, customer: Customer, plan: str, way: str, number: int) -> None:
    """Begin a new cycle of the plan, with the time that is left credited."""
    await customer.advance(to=f"2027-01-01T1{number}:00:00Z")
    if way == "interval":
        await change(customer, at="now", interval=("month", "year")[number % 2])
        return
    if way == "free plan":
        await change(customer, at="now", plan=await sold(actors, None, dollars=0))
        await customer.advance(to=f"2027-01-01T1{number}:00:01Z")
        await change(customer, at="now", plan=plan)
        return
    end = {"at": "now", "refund": "credit"}
    await customer.ask("POST", f"{PATH}/cancel", end, status=200)
    await customer.subscribe(plan)
    await customer.until_subscription("active")


@pytest.mark.parametrize(
    ("way", "price"),
    [
        ("interval", FREE_UNITS),
        ("interval", VOLUME),
        ("anew", GRADUATED),
        ("free plan", FREE_UNITS),
    ],
)
async def test_free_units_beyond_a_limit_come_once_a_cycle(
    actors: Actors, way: str, price: Json
) -> None:
    plan = await sold(actors, price)
    customer = await begun_by_card(actors, plan)
    assert await costs(customer, 60) == 0
    for number, left in ((1, 40), (2, 0), (3, 0)):
        await anew(actors, customer, plan, way, number)
        assert await costs(customer, left or 1) == (Decimal(0) if left else Decimal("0.01"))
    assert await differences(actors.sql, [customer.uuid]) == []
    await customer.advance(to="2027-02-02T10:00:00Z")
    assert sum(line[3] for line in await lines(customer)) == 2, "to the cent what the uses cost"
    assert await costs(customer, 100) == 0, "a later cycle has its own"


async def test_free_uses_by_a_percentage_come_once_a_cycle(actors: Actors) -> None:
    plan = await sold(actors, PERCENTAGE)
    customer = await begun_by_card(actors, plan)
    assert [await costs(customer, 100) for _ in range(2)] == [0, 0]
    await anew(actors, customer, plan, "anew", 1)
    assert [await costs(customer, 100) for _ in range(2)] == [0, 2]
    await anew(actors, customer, plan, "interval", 3)
    assert await costs(customer, 100) == 2
    assert await differences(actors.sql, [customer.uuid]) == []


@pytest.mark.parametrize("by", ["coupon", "price"])
async def test_what_costs_nothing_gives_no_free_units_anew(actors: Actors, by: str) -> None:
    plan = await sold(actors, FREE_UNITS, dollars=15 * (by == "coupon"))
    offer = await coupon(actors, percent="100", duration="forever") if by == "coupon" else None
    customer = await begun_by_card(actors, plan, **({"coupon": offer} if offer else {}))
    assert await costs(customer, 100) == 0
    await anew(actors, customer, plan, "interval" if offer else "anew", 1)
    assert await costs(customer, 100) == 1


async def test_use_that_was_paid_for_takes_no_free_units(actors: Actors) -> None:
    dear = await sold(actors, {"model": "per_unit", "unit_price": "0.02"}, included="10")
    plan = await sold(actors, FREE_UNITS)
    customer = await begun_by_card(actors, dear)
    assert await costs(customer, 60) == 1
    await customer.advance(to="2027-01-02T10:00:00Z")
    await change(customer, at="now", plan=plan, interval="year")
    assert await costs(customer, 110) == Decimal("0.1")


async def test_a_renewal_and_a_paid_resumption_have_all_free_units(actors: Actors) -> None:
    plan = await sold(actors, FREE_UNITS)
    customer = await begun_by_card(actors, plan)
    assert await costs(customer, 100) == 0
    await customer.advance(to="2027-02-01T11:00:00Z")
    assert await costs(customer, 100) == 0
    await customer.ask("POST", f"{PATH}/pause", {"at": "now"}, status=200)
    await customer.advance(to="2027-02-10T10:00:00Z")
    await customer.ask("POST", f"{PATH}/resume", status=200)
    await customer.until_subscription("active")
    assert await costs(customer, 100) == 0
    assert await money(customer) == 0


@pytest.mark.parametrize(
    ("when", "included", "billed"),
    [("now", None, (11, 60)), ("period_end", None, (1, 60)), ("now", "50", (1, 26))],
)
async def test_a_change_covers_nothing_that_it_bills(
    actors: Actors, when: str, included: str | None, billed: tuple[int, int]
) -> None:
    """To the free plan, which includes 50 and goes on in the cycle's row; or to a paid one."""
    customer = await begun_by_card(actors, await sold(actors, {"unit_price": "0.01"}))
    assert await costs(customer, 60) == Decimal("0.6")
    await customer.advance(to="2027-01-11T10:00:00Z")
    plan = await sold(actors, {"unit_price": "0.01"}, dollars=30, included=included or "0")
    await change(customer, at=when, plan=plan if included else "free")
    await customer.advance(to="2027-02-02T10:00:00Z")
    assert [(day.day, cents) for day, _, _, cents in await lines(customer)] == [billed]
    assert await differences(actors.sql, [customer.uuid]) == []
