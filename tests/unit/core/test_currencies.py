"""The provider's units of each currency, its steps, and the least it charges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core import currencies, money
from billing.core.currencies import (
    chargeable,
    charging,
    collectable,
    from_provider,
    to_provider,
)
from billing.core.errors import ProviderFailure

LISTED = sorted(currencies._TABLE)
# Stripe's own list of what it counts without decimals.
ZERO_DECIMAL = [
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF",
    "XOF", "XPF",
]  # fmt: skip
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
        # And this one the other way round.
        (50_000, "MGA", 500),
    ],
)
def test_an_amount_is_sent_in_the_providers_unit(minor: int, currency: str, sent: int) -> None:
    assert to_provider(minor, currency) == sent
    assert from_provider(sent, currency) == minor


@given(amounts, st.sampled_from(LISTED))
def test_an_amount_comes_back_as_it_was_sent(minor: int, currency: str) -> None:
    minor -= minor % charging(currency).step
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


@pytest.mark.parametrize("currency", ZERO_DECIMAL)
def test_what_the_provider_counts_without_decimals_is_sent_so(currency: str) -> None:
    assert charging(currency).exponent == 0


@pytest.mark.parametrize("currency", LISTED)
def test_a_whole_step_is_a_whole_unit_of_the_provider(currency: str) -> None:
    # Else a cent would be lost on the way.
    assert to_provider(charging(currency).step, currency) >= 1


def test_an_amount_that_the_provider_cannot_express_is_not_rounded() -> None:
    with pytest.raises(ProviderFailure):
        to_provider(50_050, "MGA")


@pytest.mark.parametrize(
    ("currency", "most"),
    [("USD", 99_999_999), ("JPY", 99_999_999), ("ISK", 999_999), ("INR", 999_999_999),
     ("COP", 9_999_999_999), ("IDR", 999_999_999_999)],
)  # fmt: skip
def test_the_largest_charge_has_as_many_digits_as_the_provider_takes(
    currency: str, most: int
) -> None:
    assert not currencies.is_too_large(most, currency)
    assert currencies.is_too_large(most + 1, currency)
    assert not currencies.is_too_large(most + 1, "CLF"), "that is paid by hand"


@pytest.mark.parametrize("currency", ["ZZZ", "CLF", "usd", ""])
def test_money_that_is_not_in_the_table_is_never_charged(currency: str) -> None:
    assert not chargeable(currency)
    assert collectable(7, currency) == 7  # owed, and paid by hand
    with pytest.raises(ProviderFailure):
        to_provider(100, currency)


def test_every_currency_with_digits_of_its_own_is_known() -> None:
    assert all(currencies.known(currency) for currency in money.EXPONENTS)
