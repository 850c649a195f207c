"""Prices by tier against a walk from unit to unit, and a cycle billed in any number of parts."""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.catalog.rating import rules
from billing.catalog.rating.schemas import Model, PriceTerms, Tier
from billing.core.money import ZERO
from billing.metering.usage.rules import Accrued, UsageLine, bill
from tests.unit.rating.oracle import walked

D = Decimal
PRICES: Final = st.decimals(0, 20, places=12)
MODELS: Final[tuple[Model, ...]] = ("flat", "per_unit", "package", "graduated", "volume")
SOME: Final = st.lists(st.integers(1, 25), min_size=1, max_size=8)


@st.composite
def whole_terms(draw: st.DrawFn) -> PriceTerms:
    """Any price whose tiers, packages and free units are whole."""
    model = draw(st.sampled_from(MODELS))
    free = D(draw(st.integers(0, 10)))
    if model not in ("graduated", "volume"):
        size = D(draw(st.integers(1, 12)))
        return PriceTerms(model=model, unit_price=draw(PRICES), package_size=size, free_units=free)
    ends: list[int | None] = [*sorted(draw(st.sets(st.integers(1, 80), max_size=3))), None]
    tiers = tuple(
        Tier(up_to=end if end is None else D(end), unit_price=draw(PRICES), flat_price=draw(PRICES))
        for end in ends
    )
    return PriceTerms(model=model, tiers=tiers, free_units=free)


@given(terms=whole_terms(), units=st.integers(0, 120))
def test_units_cost_what_a_walk_from_one_to_the_next_finds(terms: PriceTerms, units: int) -> None:
    assert rules.cost(terms, D(units)) == walked(terms, units)


@settings(deadline=None)
@given(terms=whole_terms(), units=st.integers(0, 90))
def test_the_highest_and_the_lowest_bound_every_total_on_the_way(
    terms: PriceTerms, units: int
) -> None:
    totals = [walked(terms, number) for number in range(92)]
    assert rules.highest(terms, D(units)) >= max(totals[: units + 1])
    assert rules.lowest(terms, D(units)) <= min(totals[units:])
    assert rules.lowest(terms, D(units)) <= rules.lowest(terms, D(units + 1))


@given(terms=whole_terms(), units=st.integers(0, 120))
def test_the_parts_of_a_price_are_its_units_and_its_cost(terms: PriceTerms, units: int) -> None:
    found = rules.parts(terms, D(units))
    assert sum((part.amount for part in found), D(0)) == walked(terms, units)
    assert all(part.amount == part.flat_price + part.units * part.unit_price for part in found)
    if terms.model != "package":
        assert sum((part.units for part in found), D(0)) == units


@dataclass
class Cycle:
    """One cycle's overage, recorded use by use and billed at any time."""

    terms: PriceTerms
    units: Decimal = ZERO
    total: Decimal = ZERO
    records: int = 0
    lines: list[UsageLine] = field(default_factory=list)

    def use(self, units: int) -> None:
        self.total += rules.charge(self.terms, self.units, D(units), "USD", paid=self.total)
        self.units += units
        self.records += 1

    def bill(self, *, early: bool) -> UsageLine:
        line = bill(
            Accrued(
                units=self.units, total=self.total, records=self.records, terms=self.terms,
                currency="USD", billed_units=sum((one.units for one in self.lines), D(0)),
                billed_total=sum((one.covers for one in self.lines), D(0)), billed_minor=self.cents,
            ),
            early=early,
        )  # fmt: skip
        self.lines.append(line)
        return line

    @property
    def cents(self) -> int:
        return sum(line.amount_minor for line in self.lines)


def cents(amount: Decimal) -> int:
    return int((amount * 100).quantize(D(1), ROUND_HALF_UP))


@given(terms=whole_terms(), parts=st.lists(SOME, min_size=1, max_size=5))
def test_the_bills_of_a_cycle_add_up_to_the_price_of_the_whole(
    terms: PriceTerms, parts: list[list[int]]
) -> None:
    cycle = Cycle(terms)
    for number, uses in enumerate(parts, 1):
        for units in uses:
            cycle.use(units)
        line = cycle.bill(early=number < len(parts))
        assert line.amount_minor >= 0
        assert line.terms == terms, "one price in the whole cycle"
        # A total on the way may be dearer: never more than the customer owes in the end.
        assert cycle.cents <= cents(walked(terms, int(cycle.units)))
    assert cycle.cents == cents(walked(terms, sum(map(sum, parts))))
    trued = sum((line.true_up for line in cycle.lines), D(0))
    assert D(cycle.cents).scaleb(-2) == cycle.total + trued, "records and lines agree to the cent"


@given(terms=whole_terms(), early=SOME, late=SOME)
def test_late_use_costs_what_the_whole_costs_more_and_gives_nothing_back(
    terms: PriceTerms, early: list[int], late: list[int]
) -> None:
    cycle = Cycle(terms)
    for units in early:
        cycle.use(units)
    closed = cycle.bill(early=False).amount_minor
    for units in late:
        cycle.use(units)
    cycle.bill(early=False)
    assert cycle.cents == max(closed, cents(walked(terms, sum(early) + sum(late))))


@pytest.mark.parametrize(
    ("units", "certain", "whole"), [("50", "50", "50"), ("90", "50", "90"), ("150", "75", "75")]
)
def test_an_early_bill_of_a_volume_price_is_what_the_cycle_costs_at_least(
    units: str, certain: str, whole: str
) -> None:
    terms = PriceTerms(
        model="volume", tiers=(Tier(up_to=D(100), unit_price=D(1)), Tier(unit_price=D("0.5")))
    )
    assert (rules.lowest(terms, D(units)), rules.cost(terms, D(units))) == (D(certain), D(whole))


@pytest.mark.parametrize(("known", "cents"), [(False, 4000), (True, 2000)])
def test_the_sum_of_the_records_does_not_tell_which_price_they_had(known: bool, cents: int) -> None:
    tiers = (Tier(up_to=D(1500), unit_price=D("0.03")), Tier(unit_price=D("0.01")))
    terms = PriceTerms(model="volume", tiers=tiers) if known else None
    # Between what 2,000 units cost by volume and the most they come to on the way.
    line = bill(Accrued(units=D(2000), total=D(40), records=2, terms=terms, currency="USD"))
    assert (line.amount_minor, line.terms) == (cents, terms)
    assert line.unit_minor == D(cents) / 2000


def test_a_price_that_changed_in_the_cycle_is_the_sum_of_the_records() -> None:
    line = bill(Accrued(units=D(20), total=D(40), records=2, terms=None, currency="USD"))
    assert (line.amount_minor, line.unit_minor, line.terms) == (4000, D(200), None)
