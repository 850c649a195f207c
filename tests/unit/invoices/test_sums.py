"""Sums of invoices: whatever the lines, discounts and rates, they reconcile to the cent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.taxes.schemas import TaxRate
from billing.core.money import round_exact
from billing.money.discounts.schemas import DiscountTerms as Discount
from billing.money.invoices.schemas import Line
from billing.money.invoices.sums import sum_lines

JANUARY = datetime(2027, 1, 1, tzinfo=UTC)
RATES = st.builds(
    TaxRate,
    jurisdiction=st.sampled_from(["DE", "FR"]),
    category=st.just("standard"),
    name=st.just("VAT"),
    rate=st.decimals(0, 30, places=3),
    inclusive=st.booleans(),
)
LINES = st.builds(
    Line,
    kind=st.sampled_from(["plan", "add_on", "usage"]),
    description=st.just("x"),
    unit_amount=st.just(Decimal(0)),
    amount_minor=st.integers(-(10**6), 10**7),
    taxes=st.lists(RATES, max_size=2, unique=True).map(tuple),
)
KINDS = st.sampled_from([(), ("plan",), ("plan", "add_on"), ("seat",)])
DISCOUNTS = st.one_of(
    st.builds(Discount, code=st.just("P"), percent=st.decimals(0, 100, places=2), kinds=KINDS),
    st.builds(Discount, code=st.just("A"), amount_minor=st.integers(0, 10**7), kinds=KINDS),
)


@given(st.lists(LINES, max_size=6), st.lists(DISCOUNTS, max_size=3))
def test_discounts_take_no_more_than_there_is(lines: list[Line], off: list[Discount]) -> None:
    for one in sum_lines(lines, off):
        assert 0 <= one.discount_minor <= max(0, one.line.amount_minor)
        assert sum(part["amount_minor"] for part in one.discounts) == one.discount_minor


@given(st.lists(LINES, max_size=6), st.lists(DISCOUNTS, max_size=3))
def test_each_tax_is_rounded_once_and_spread_without_loss(
    lines: list[Line], off: list[Discount]
) -> None:
    summed = sum_lines(lines, off)
    asked = [
        (str(rate), rate, one.line.amount_minor - one.discount_minor, one.line.taxes or (), part)
        for one in summed
        for rate, part in zip(one.line.taxes or (), one.taxes, strict=False)
    ]
    assert sum(len(one.line.taxes or ()) for one in summed) == sum(len(one.taxes) for one in summed)
    asked.sort(key=lambda one: one[0])
    for _, group in groupby(asked, key=lambda one: one[0]):
        exact, parts = Fraction(0), 0
        for _, rate, net, taxes, part in group:
            inside = sum(Fraction(one.rate) for one in taxes if one.inclusive)
            share = net * Fraction(rate.rate) / (100 + inside if rate.inclusive else 100)
            assert abs(part["amount_minor"] - share) < 2
            exact, parts = exact + share, parts + part["amount_minor"]
        assert parts == round_exact(exact)


def inside(rate: TaxRate) -> TaxRate:
    return rate.model_copy(update={"inclusive": True})


@given(st.lists(LINES, max_size=6), st.lists(DISCOUNTS, max_size=3))
def test_a_tax_that_prices_hold_does_not_raise_the_total(
    lines: list[Line], off: list[Discount]
) -> None:
    held = [
        line.model_copy(update={"taxes": tuple(map(inside, line.taxes or ()))}) for line in lines
    ]
    for one in sum_lines(held, off):
        assert one.total_minor == one.line.amount_minor - one.discount_minor


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_half_is_rounded_away_from_zero(part: int, whole: int) -> None:
    exact = Fraction(part, whole)
    rounded = round_exact(exact)
    assert abs(rounded - exact) <= Fraction(1, 2)
    if abs(rounded - exact) == Fraction(1, 2):
        assert abs(rounded) > abs(exact)


def test_the_narrowest_discount_goes_first() -> None:
    lines = [
        Line(kind="plan", description="", unit_amount=Decimal(1000), amount_minor=1000),
        Line(kind="usage", description="", unit_amount=Decimal(500), amount_minor=500),
    ]
    off = [
        Discount(code="ALL10", percent=Decimal(10)),
        Discount(code="PLAN200", amount_minor=200, kinds=("plan",)),
    ]
    plan, usage = sum_lines(lines, off)
    assert plan.discounts == (
        {"code": "PLAN200", "amount_minor": 200},
        {"code": "ALL10", "amount_minor": 80},
    )
    assert usage.discounts == ({"code": "ALL10", "amount_minor": 50},)


@pytest.mark.parametrize(
    ("sold", "since", "off"),
    [
        ((), None, 250),
        (("basic",), None, 250),
        (("pro",), None, 0),
        ((), JANUARY, 250),
        ((), JANUARY + timedelta(days=1), 0),
    ],
)
def test_use_has_the_discounts_of_its_plan_and_its_time(
    sold: tuple[str, ...], since: datetime | None, off: int
) -> None:
    used = Line(
        kind="usage", description="", unit_amount=Decimal(500), amount_minor=500,
        period_start=JANUARY, sold="basic",
    )  # fmt: skip
    half = Discount(code="HALF", percent=Decimal(50), sold=sold, use_since=since)
    (found,) = sum_lines([used], [half])
    assert found.discount_minor == off


def test_a_discount_off_fewer_kinds_goes_before_one_off_more() -> None:
    line = Line(kind="plan", description="", unit_amount=Decimal(1000), amount_minor=1000)
    off = [
        Discount(code="TWO10", percent=Decimal(10), kinds=("plan", "usage")),
        Discount(code="ONE200", amount_minor=200, kinds=("plan",)),
    ]
    (plan,) = sum_lines([line], off)
    assert [one["code"] for one in plan.discounts] == ["ONE200", "TWO10"]
