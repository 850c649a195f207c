"""The provider's units of each currency, its steps, and the least it charges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core import currencies, money
from billing.core.currencies import charging, collectable, from_provider, to_provider

LISTED = sorted(set(currencies._TABLE) | set(money.EXPONENTS) | {"USD", "EUR", "CAD", "CHF"})
amounts = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("minor", "currency", "sent"),
    [
        (4900, "USD", 4900),
        (500, "JPY", 500),
        (5, "KRW", 5),
        (1230, "KWD", 1230),
        # ISO counts them without decimals, the provider with two.
        (100, "ISK", 10_000),
        (2000, "UGX", 200_000),
    ],
)
def test_an_amount_is_sent_in_the_providers_unit(minor: int, currency: str, sent: int) -> None:
    assert to_provider(minor, currency) == sent
    assert from_provider(sent, currency) == minor


@given(amounts, st.sampled_from(LISTED))
def test_an_amount_comes_back_as_it_was_sent(minor: int, currency: str) -> None:
    assert from_provider(to_provider(minor, currency), currency) == minor


@given(amounts, st.sampled_from(LISTED))
def test_what_can_be_charged_is_whole_steps_and_never_more_than_is_owed(
    due: int, currency: str
) -> None:
    terms, part = charging(currency), collectable(due, currency)
    assert part % terms.step == 0
    assert 0 <= part <= due
    assert part == 0 or part >= terms.minimum
    assert part or due - due % terms.step < terms.minimum
    assert not part or due - part < terms.step


@pytest.mark.parametrize(
    ("due", "currency", "part"),
    [
        (49, "USD", 0), (50, "USD", 50), (29, "GBP", 0), (30, "GBP", 30),
        (49, "JPY", 0), (50, "JPY", 50), (1999, "UGX", 0), (2000, "UGX", 2000),
        (1239, "KWD", 1230), (199, "KWD", 0), (209, "KWD", 200), (0, "EUR", 0),
    ],
)  # fmt: skip
def test_what_is_below_the_minimum_is_not_charged(due: int, currency: str, part: int) -> None:
    assert collectable(due, currency) == part


@pytest.mark.parametrize("currency", LISTED)
def test_the_provider_never_counts_coarser_than_iso(currency: str) -> None:
    # Else a cent would be lost on the way.
    assert charging(currency).exponent >= money.exponent(currency)


def test_a_currency_nobody_listed_follows_iso() -> None:
    assert charging("SGD").exponent == 2
    assert charging("CLP").exponent == 0
    assert charging("SGD").step == 1
