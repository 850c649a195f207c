"""Prorations of other billing systems' public tests (tests/golden/README.md)."""

from datetime import datetime
from fractions import Fraction
from typing import Any

import pytest

from billing.core import periods
from billing.money.subscriptions.periods import proration
from tests.unit.golden.cases import cases

Json = dict[str, Any]


def of(given: Json, start: str, end: str, at: str) -> Fraction:
    return proration.rest(*(datetime.fromisoformat(given[name]) for name in (start, end, at)))


@pytest.mark.parametrize(("given", "expected"), cases("proration", "change"))
def test_a_change_credits_the_rest_of_the_old_and_charges_that_of_the_new(
    given: Json, expected: Json
) -> None:
    left = of(given, "period_start", "period_end", "at")
    old = given.get("paid_minor", given["old_minor"] * given["quantity_old"])
    new = given["new_minor"] * given["quantity_new"]
    assert proration.share(old, left) == expected.get("credit_minor", 0)
    whole = Fraction(1) if given["new_period"] else left
    assert proration.share(new, whole) == expected.get("charge_minor", 0)


@pytest.mark.parametrize(("given", "expected"), cases("proration", "net"))
def test_fewer_and_more_seats_are_the_difference(given: Json, expected: Json) -> None:
    left = of(given, "period_start", "period_end", "at")
    old, new = (
        proration.share(given["unit_minor"] * given[name], left)
        for name in ("quantity_old", "quantity_new")
    )
    assert new - old == expected["net_minor"]


@pytest.mark.parametrize(("given", "expected"), cases("proration", "fraction"))
def test_a_part_of_a_period_is_its_seconds(given: Json, expected: Json) -> None:
    begun = of(given, "period_start", "period_end", "from")
    part = begun - of(given, "period_start", "period_end", "to")
    assert part == Fraction(expected["fraction"])
    assert proration.share(given["price_minor"], part) == expected["amount_minor"]


@pytest.mark.parametrize(("given", "expected"), cases("proration", "span"))
def test_a_day_weighs_as_much_as_it_lasts(given: Json, expected: Json) -> None:
    start, end = (datetime.fromisoformat(given[name]) for name in ("from", "to"))
    walls = [periods.to_wall(one, given["zone"]) for one in (start, end)]
    there = [periods.from_wall(one, given["zone"]) for one in walls]
    assert (there[1] - there[0]).total_seconds() == expected["seconds"]
