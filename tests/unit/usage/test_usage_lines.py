"""The lines of a cycle, however often it is billed: records and lines agree to the cent."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from billing.catalog.rating.rules import rounded
from billing.catalog.rating.schemas import PriceTerms
from billing.core.money import exponent
from billing.metering.usage.rules import Accrued, UsageLine, bill

AMOUNTS = st.decimals("0.000000000001", 100_000, places=12)
PRICES = st.decimals(0, 100, places=12)
CURRENCIES = st.sampled_from(["USD", "JPY", "KWD"])


def bill_all(
    closes: list[list[Decimal]], price: Decimal | None, paid: Decimal, currency: str
) -> tuple[list[UsageLine], Decimal, Decimal]:
    """Bill the uses of one cycle, some with each close; the lines, all units, all records."""
    units, total, count = Decimal(0), Decimal(0), 0
    lines: list[UsageLine] = []
    for uses in closes:
        units += sum(uses)
        total += sum(rounded(one * paid, currency) for one in uses)
        count += len(uses)
        lines.append(
            bill(
                Accrued(
                    units=units,
                    total=total,
                    records=count,
                    terms=None if price is None else PriceTerms(unit_price=price),
                    currency=currency,
                    billed_units=sum((line.units for line in lines), Decimal(0)),
                    billed_total=sum((line.covers for line in lines), Decimal(0)),
                    billed_minor=sum(line.amount_minor for line in lines),
                )
            )
        )
    return lines, units, total


@given(
    closes=st.lists(st.lists(AMOUNTS, min_size=1, max_size=20), min_size=1, max_size=4),
    price=PRICES,
    currency=CURRENCIES,
)
def test_lines_are_the_records_and_their_true_ups(
    closes: list[list[Decimal]], price: Decimal, currency: str
) -> None:
    lines, units, total = bill_all(closes, price, price, currency)
    step = Decimal(1).scaleb(-exponent(currency))
    billed = sum(line.amount_minor for line in lines) * step
    assert billed == total + sum(line.true_up for line in lines)
    assert sum(line.units for line in lines) == units
    assert abs(billed - units * price) <= step / 2, "rounded once, however often it is billed"
    assert all(line.unit_minor == price / step for line in lines)


@given(uses=st.lists(AMOUNTS, min_size=1, max_size=20), price=PRICES, before=PRICES)
def test_under_several_prices_the_records_say_what_is_owed(
    uses: list[Decimal], price: Decimal, before: Decimal
) -> None:
    (line,), _, total = bill_all([uses], price, before, "USD")
    assert abs(Decimal(line.amount_minor).scaleb(-2) - total) <= Decimal("0.006")
    (line,), _, total = bill_all([uses], None, before, "USD")
    assert abs(Decimal(line.amount_minor).scaleb(-2) - total) <= Decimal("0.005")


def test_units_of_several_prices_are_shown_at_their_average() -> None:
    terms = PriceTerms(unit_price=Decimal("0.50"))
    accrued = Accrued(Decimal(30), Decimal("5"), 2, terms, "USD")  # 20 at 0.10, then 10 at 0.30
    line = bill(accrued)
    assert (line.amount_minor, round(line.unit_minor, 6)) == (500, Decimal("16.666667"))


def test_half_a_cent_is_rounded_away_from_zero() -> None:
    terms = PriceTerms(unit_price=Decimal("0.02"))
    accrued = Accrued(Decimal("0.25"), Decimal("0.005"), 1, terms, "USD")
    assert bill(accrued) == UsageLine(
        Decimal("0.25"), Decimal(2), 1, Decimal("0.005"), Decimal("0.005"), terms
    )
