"""Amounts that may be booked, keys that name their account, hashes that name a request."""

from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.errors import Invalid
from billing.ledger.credits.rules import bookable, caller_key, grantable, request_hash

ONE = UUID(int=1)
TWO = UUID(int=2)
WITHIN = st.decimals("0.000001", "999999999", places=12, allow_nan=False)


@pytest.mark.parametrize(
    ("asked", "booked"),
    [
        ("0.0000005", "0.000001"),
        ("0.0000014", "0.000001"),
        ("2", "2"),
        ("999999999999999", "999999999999999"),
    ],
)
def test_a_debit_is_rounded_half_away_from_zero(asked: str, booked: str) -> None:
    assert bookable(Decimal(asked)) == Decimal(booked)


@pytest.mark.parametrize("amount", ["0", "-1", "0.0000004", "1e15", "NaN", "Infinity"])
def test_an_amount_that_is_none_is_refused(amount: str) -> None:
    for rule in (bookable, grantable):
        with pytest.raises(Invalid, match="INVALID_AMOUNT"):
            rule(Decimal(amount) if rule is bookable else -abs(Decimal(amount)))


@given(WITHIN)
def test_a_grant_is_booked_exactly(amount: Decimal) -> None:
    assert grantable(amount) == amount


def test_a_grant_finer_than_the_books_is_refused() -> None:
    with pytest.raises(Invalid, match="12 decimals"):
        grantable(Decimal("0.0000000000001"))


def test_a_caller_s_key_names_its_account_and_no_fact_of_ours() -> None:
    assert caller_key(ONE, "trial") != caller_key(TWO, "trial")
    assert caller_key(ONE, "trial").startswith("acc_")
    assert not caller_key(ONE, "trial").endswith(f"{'0' * 25}1/trial")
    for key in ("", "x" * 256):
        with pytest.raises(Invalid, match="IDEMPOTENCY_KEY_INVALID"):
            caller_key(ONE, key)


def test_equal_requests_have_equal_hashes_however_they_are_written() -> None:
    first = request_hash(amount=Decimal("2.50"), detail={"a": 1, "b": [1, 2]}, at=None)
    assert first == request_hash(detail={"b": [1, 2], "a": 1}, at=None, amount=Decimal("2.5"))
    assert first != request_hash(amount=Decimal("2.51"), detail={"a": 1, "b": [1, 2]}, at=None)


def test_less_than_a_millionth_is_refused_by_the_step_it_misses() -> None:
    with pytest.raises(Invalid, match=r"INVALID_AMOUNT: .* rounded to steps of 0\.000001"):
        bookable(Decimal("0.0000001"))
