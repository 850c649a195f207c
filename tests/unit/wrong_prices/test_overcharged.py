"""A wrong price charged too much: by as much as the sums with the right one are less."""

from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.taxes.schemas import TaxRate
from billing.money.discounts.schemas import DiscountTerms
from billing.money.invoices.schemas import InvoiceLine, Line
from billing.money.invoices.sums import SummedLine, sum_lines
from billing.money.subscriptions.periods.proration import share
from billing.money.wrong_prices.rules import overcharged

PART = DiscountTerms(code="PART", percent=Decimal(20))
FIXED = DiscountTerms(code="FIXED", amount_minor=500)
DISCOUNTS = st.lists(
    st.one_of(
        st.builds(DiscountTerms, code=st.just("PART"), percent=st.decimals(1, 100, places=1)),
        st.builds(DiscountTerms, code=st.just("FIXED"), amount_minor=st.integers(1, 30_000)),
    ),
    max_size=2,
    unique_by=lambda one: one.code,
)
RATES = st.builds(
    TaxRate,
    jurisdiction=st.just("DE"),
    category=st.just("standard"),
    name=st.just("USt"),
    rate=st.decimals(0, 30, places=2),
    inclusive=st.booleans(),
)
PRICES = st.integers(0, 20_000)
SHARES = st.fractions(0, 1, max_denominator=31)


def summed(
    unit: int, seats: int, part: Fraction, off: list[DiscountTerms], rate: TaxRate | None
) -> SummedLine:
    line = Line(
        kind="plan",
        description="Pro",
        quantity=Decimal(seats),
        unit_amount=Decimal(unit),
        amount_minor=share(unit * seats, part),
        detail={} if part == 1 else {"share": str(part)},
        taxes=(rate,) if rate else (),
    )
    (found,) = sum_lines([line], off)
    return found


def row(one: SummedLine) -> InvoiceLine:
    fields = one.line.model_dump(include={"kind", "description", "quantity", "unit_amount",
                                          "amount_minor", "detail"})  # fmt: skip
    return InvoiceLine(
        id=UUID(int=1), account_id=UUID(int=2), invoice_id=UUID(int=3), position=1, **fields,
        discount_minor=one.discount_minor, tax_minor=one.tax_minor,
        tax_included_minor=one.tax_included_minor, discounts=list(one.discounts),
        taxes=list(one.taxes),
    )  # fmt: skip


@given(PRICES, PRICES, st.integers(1, 9), SHARES, DISCOUNTS, st.none() | RATES)
def test_it_is_the_difference_of_the_two_sums(
    wrong: int,
    right: int,
    seats: int,
    part: Fraction,
    off: list[DiscountTerms],
    rate: TaxRate | None,
) -> None:
    was, should = (summed(unit, seats, part, off, rate) for unit in (wrong, right))
    found = overcharged(row(was), right, {"FIXED"})
    assert 0 <= found <= was.total_minor
    # One rounding of a percentage, and one of the tax.
    assert abs(found - max(0, was.total_minor - should.total_minor)) <= 2


@pytest.mark.parametrize(
    ("off", "given_back"),
    [([], 1000), ([PART], 800), ([FIXED], 1000), ([FIXED, PART], 800)],
)
def test_a_coupon_of_an_amount_is_taken_off_either_price(
    off: list[DiscountTerms], given_back: int
) -> None:
    was = row(summed(4900, 1, Fraction(1), off, None))
    assert overcharged(was, 3900, {"FIXED"}) == given_back


def test_a_price_that_was_too_low_takes_nothing_more() -> None:
    was = row(summed(490, 1, Fraction(1), [], None))
    assert overcharged(was, 4900, set()) == 0
