"""Plans are compared for the seats that a subscriber has."""

from decimal import Decimal
from typing import Any

from billing.catalog.plans.schemas import Limit, Plan, Seats
from billing.insight.recommendations import offers, rules
from billing.insight.recommendations.offers import Cost
from billing.insight.recommendations.schemas import PlanOffer
from tests.unit.timeline import snapshots

TEN_THOUSAND = {"calls": Decimal(10_000)}


def limit(included: int, meter: str = "calls") -> Limit:
    return Limit.model_validate(
        {
            "meter": meter, "included": str(included), "then": "overage",
            "prices": {"USD": {"unit_price": "0.05"}},
        }
    )  # fmt: skip


def plan(key: str, included: int, seats: Seats | None = None, **fields: Any) -> Plan:
    terms = {"key": key, "limits": (limit(included),), "seats": seats, "features": {}} | fields
    return snapshots.plan().model_copy(update=terms)


TEAM = plan("team", 1000, Seats())
FLAT = plan("flat", 8000)


def other(plan: Plan, quantity: int, unit_minor: int, least_minor: int | None = None) -> PlanOffer:
    found = offers.other(plan, quantity, Cost(unit_minor, least_minor), {}, "USD")
    assert found is not None
    return found


def test_each_seat_includes_the_limits_of_its_plan() -> None:
    mine = offers.had(TEAM, 10, Cost(10_000, None), {}, "USD")
    assert rules.cost(mine, TEN_THOUSAND) == 100
    flat = other(FLAT, 10, 400)
    assert rules.cost(flat, TEN_THOUSAND) == 104
    assert rules.cheaper(mine, [flat], [TEN_THOUSAND], "USD", sold=()) is None


def test_a_cycle_costs_at_least_the_minimum_of_its_plan_whatever_its_seats() -> None:
    little, much = {"calls": Decimal(100)}, TEN_THOUSAND
    least = other(TEAM, 9, 400, 5_000)
    assert [rules.cost(least, one) for one in (little, much)] == [50, 36 + 50]
    mine = offers.had(TEAM, 9, Cost(4_000, None), {}, "USD")
    found = rules.cheaper(mine, [least], [little], "USD", sold=())
    assert found is None, "40 is less than its minimum"
    mine = offers.had(TEAM, 9, Cost(4_000, 6_000), {}, "USD")
    found = rules.cheaper(mine, [least], [little], "USD", sold=())
    assert found is not None
    assert [found.current_cost, found.cost] == [Decimal(60), Decimal(50)]


def test_a_plan_whose_seats_share_the_limits_includes_them_once() -> None:
    shared = other(plan("shared", 8000, Seats(limits=False)), 10, 400)
    assert [shared.price, shared.limits["calls"].included] == [Decimal(40), Decimal(8000)]


def test_a_plan_that_is_not_sold_by_seats_is_bought_once() -> None:
    assert other(FLAT, 10, 400).price == 4
    assert other(TEAM, 10, 400).price == 40


def test_a_plan_that_is_not_sold_by_so_many_seats_is_left_out() -> None:
    few, each = plan("few", 1000, Seats(least=2, most=5)), Cost(400, None)
    assert [offers.other(few, seats, each, {}, "USD") is None for seats in (1, 2, 5, 6)] == [
        True, False, False, True,
    ]  # fmt: skip


def test_fewer_credits_are_given_up_by_their_sum_over_all_seats() -> None:
    by_seat = plan("by_seat", 1000, Seats(), monthly_credits=Decimal(10))
    together = plan("together", 1000, Seats(credits=False), monthly_credits=Decimal(50))
    mine, less = offers.had(by_seat, 10, Cost(10_000, None), {}, "USD"), other(together, 10, 400)
    assert [mine.credits, less.credits] == [Decimal(100), Decimal(50)]
    assert rules.gives_up(mine, less) == ("credits",)


def test_what_was_agreed_is_for_all_seats_together() -> None:
    agreed = {"calls": limit(3000)}
    assert offers.had(TEAM, 10, Cost(10_000, None), agreed, "USD").limits["calls"].included == 3000
