"""Money and credits: one rounding rule, splits that lose nothing, one way to show an amount."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core import money

cents = st.integers(min_value=-(10**15), max_value=10**15)
weights = st.lists(st.integers(min_value=0, max_value=10**9), min_size=1, max_size=30).filter(sum)
credit_amounts = st.decimals(min_value=-(10**14), max_value=10**14, places=12, allow_nan=False)


@pytest.mark.parametrize(
    ("amount", "minor"),
    [
        ("0.5", 1), ("-0.5", -1), ("1.5", 2), ("2.5", 3), ("-2.5", -3),
        ("0.4999", 0), ("-0.4999", 0), ("2.4999999999999999", 2), ("7", 7),
    ],
)  # fmt: skip
def test_half_a_cent_goes_away_from_zero(amount: str, minor: int) -> None:
    assert money.round_minor(Decimal(amount)) == minor


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=6, allow_nan=False))
def test_rounding_is_never_off_by_more_than_half_a_cent(amount: Decimal) -> None:
    off = abs(Fraction(money.round_minor(amount)) - Fraction(amount))
    assert off <= Fraction(1, 2)
    assert money.round_minor(-amount) == -money.round_minor(amount)


@pytest.mark.parametrize(
    ("amount", "booked"),
    [("0.0000005", "0.000001"), ("0.0000004999", "0.000000"), ("-0.0000005", "-0.000001")],
)
def test_credits_are_rounded_once_to_six_decimals(amount: str, booked: str) -> None:
    assert money.round_credits(Decimal(amount)) == Decimal(booked)


@given(cents, weights)
def test_a_split_sums_to_its_total_exactly(total: int, shares: list[int]) -> None:
    parts = money.split(total, shares)
    assert sum(parts) == total
    assert len(parts) == len(shares)


@given(cents, weights)
def test_no_part_of_a_split_is_a_cent_or_more_off(total: int, shares: list[int]) -> None:
    for part, share in zip(money.split(total, shares), shares, strict=True):
        assert abs(Fraction(part) - Fraction(total * share, sum(shares))) < 1
        assert share or not part


@given(cents, weights)
def test_what_is_given_back_splits_like_what_was_taken(total: int, shares: list[int]) -> None:
    assert money.split(-total, shares) == [-part for part in money.split(total, shares)]


def test_the_largest_remainder_gets_the_odd_cent_and_the_first_of_equals() -> None:
    assert money.split(100, [1, 1, 1]) == [34, 33, 33]
    assert money.split(101, [1, 1, 1]) == [34, 34, 33]
    assert money.split(10, [1, 2, 4]) == [1, 3, 6]
    assert money.split(0, [3, 5]) == [0, 0]


def test_a_large_split_is_exact_where_floats_are_not() -> None:
    shares = [836_375, 9_913, 568]
    assert money.split(9_511_248_082_291, shares) == [
        9_393_533_392_721,
        111_335_341_829,
        6_379_347_741,
    ]


@pytest.mark.parametrize("shares", [[], [0], [0, 0]])
def test_nothing_can_be_split_by_nothing(shares: list[int]) -> None:
    with pytest.raises(ValueError, match="more than zero"):
        money.split(5, shares)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", "0"), ("0.000", "0"), ("-0.0", "0"), ("2", "2.00"), ("0.002", "0.002"),
        ("1.50", "1.50"), ("1.500000", "1.50"), ("1E+3", "1000.00"), ("-7.1", "-7.10"),
        ("0.000000000001", "0.000000000001"), ("999999999999999", "999999999999999.00"),
    ],
)  # fmt: skip
def test_credits_are_shown_with_two_decimals_and_no_idle_zeros(value: str, shown: str) -> None:
    assert money.show_decimal(Decimal(value)) == shown


@given(credit_amounts)
def test_a_shown_amount_reads_back_as_the_same(amount: Decimal) -> None:
    shown = money.show_decimal(amount)
    assert Decimal(shown) == amount
    assert "E" not in shown


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (4900, "EUR", "49.00 EUR"), (-5, "USD", "-0.05 USD"), (500, "JPY", "500 JPY"),
        (1234, "KWD", "1.234 KWD"), (0, "USD", "0.00 USD"), (70, "ISK", "70 ISK"),
    ],
)  # fmt: skip
def test_people_read_money_in_its_own_decimals(minor: int, currency: str, shown: str) -> None:
    assert money.show_money(minor, currency) == shown
