"""The card provider's rules for each currency: units, steps and the minimum charge.

Stripe's units are not ISO's everywhere; amounts elsewhere in the product are ISO minor units.
Source: Stripe's documentation on currencies (zero-decimal, special cases, minimum amounts).
"""

from typing import Final

from billing.core import money
from billing.core.frozen import Frozen


class Charging(Frozen):
    """`exponent` of the provider's unit, `step` and `minimum` in ISO minor units."""

    exponent: int
    step: int = 1
    minimum: int = 50


_THREE = Charging(exponent=3, step=10, minimum=200)
_TABLE: Final = {
    "AED": Charging(exponent=2, minimum=200),
    "BHD": _THREE,
    "CZK": Charging(exponent=2, minimum=1500),
    "DKK": Charging(exponent=2, minimum=250),
    "GBP": Charging(exponent=2, minimum=30),
    "HKD": Charging(exponent=2, minimum=400),
    "HUF": Charging(exponent=2, minimum=17500),
    "INR": Charging(exponent=2, minimum=50),
    "ISK": Charging(exponent=2, minimum=70),
    "JOD": _THREE,
    "JPY": Charging(exponent=0, minimum=50),
    "KRW": Charging(exponent=0, minimum=700),
    "KWD": _THREE,
    "MXN": Charging(exponent=2, minimum=1000),
    "MYR": Charging(exponent=2, minimum=200),
    "NOK": Charging(exponent=2, minimum=300),
    "OMR": _THREE,
    "PLN": Charging(exponent=2, minimum=200),
    "RON": Charging(exponent=2, minimum=200),
    "SEK": Charging(exponent=2, minimum=300),
    "THB": Charging(exponent=2, minimum=1000),
    "TND": _THREE,
    "UGX": Charging(exponent=2, minimum=2000),
}
MINIMUMS: Final = {currency: terms.minimum for currency, terms in _TABLE.items()}
"""The least the provider charges, in ISO minor units; of a currency not listed `MINIMUM`."""
MINIMUM: Final = Charging(exponent=2).minimum


def charging(currency: str) -> Charging:
    """The provider's terms for `currency`; unlisted ones follow ISO with a minimum of 50."""
    return _TABLE.get(currency) or Charging(exponent=money.exponent(currency))


def to_provider(minor: int, currency: str) -> int:
    """ISO minor units in the provider's unit (100 ISK-minor → 10000)."""
    return minor * int(10 ** (charging(currency).exponent - money.exponent(currency)))


def from_provider(amount: int, currency: str) -> int:
    """The provider's unit in ISO minor units."""
    return amount // int(10 ** (charging(currency).exponent - money.exponent(currency)))


def collectable(due_minor: int, currency: str) -> int:
    """The part of an amount due that can be charged: whole steps, or nothing below the minimum."""
    terms = charging(currency)
    rounded = due_minor - due_minor % terms.step
    return rounded if rounded >= terms.minimum else 0
