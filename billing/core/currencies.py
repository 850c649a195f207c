"""The card provider's rules for each currency: units, steps, the least and the largest charge.

Stripe's units are not ISO's everywhere; amounts elsewhere in the product are ISO minor units.
Source: Stripe's documentation on currencies (supported, zero-decimal, special cases, minimum
and maximum amounts). A card cannot pay in any other currency.
"""

from typing import Annotated, Final

from pydantic import AfterValidator

from billing.core import money
from billing.core.errors import Conflict, ProviderFailure
from billing.core.frozen import Frozen


class Charging(Frozen):
    """`step` and `minimum` in ISO minor units; `exponent` and `maximum` in the provider's unit."""

    exponent: int
    step: int = 1
    minimum: int
    maximum: int


# Stripe's minimum charges, in ISO minor units, as it documents them.
_NAMED_MINIMUMS: Final = {
    "AED": 200, "AUD": 50, "BGN": 100, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250,
    "EUR": 50, "GBP": 30, "HKD": 400, "HUF": 17500, "INR": 50, "JPY": 50, "MXN": 1000, "MYR": 200,
    "NOK": 300, "NZD": 50, "PLN": 200, "RON": 200, "SEK": 300, "SGD": 50, "THB": 1000, "USD": 50,
}  # fmt: skip
# Other minimums are about half a dollar at the exchange rate. These are rounded up, so that a
# moving rate does not make a charge too small.
_ABOUT_HALF_A_DOLLAR: Final = {
    "AFN": 4000, "ALL": 5000, "AMD": 20000, "ANG": 100, "AOA": 50000, "ARS": 80000, "AWG": 100,
    "AZN": 100, "BAM": 100, "BBD": 100, "BDT": 7000, "BHD": 200, "BIF": 1600, "BMD": 50,
    "BND": 70, "BOB": 400, "BSD": 50, "BWP": 700, "BYN": 200, "BZD": 100, "CDF": 150000,
    "CLP": 500, "CNY": 400, "COP": 230000, "CRC": 26000, "CVE": 5500, "DJF": 90, "DOP": 3500,
    "DZD": 7000, "EGP": 2600, "ETB": 8000, "FJD": 120, "FKP": 40, "GEL": 150, "GIP": 40,
    "GMD": 4000, "GNF": 4500, "GTQ": 400, "GYD": 11000, "HNL": 1400, "HTG": 7000, "IDR": 900000,
    "ILS": 200, "ISK": 70, "JMD": 8500, "JOD": 400, "KES": 7000, "KGS": 4500, "KHR": 210000,
    "KMF": 230, "KRW": 700, "KWD": 200, "KYD": 50, "KZT": 28000, "LAK": 1100000, "LBP": 4500000,
    "LKR": 16000, "LRD": 10000, "LSL": 1000, "MAD": 500, "MDL": 900, "MGA": 250000, "MKD": 2900,
    "MMK": 110000, "MNT": 180000, "MOP": 450, "MUR": 2400, "MVR": 800, "MWK": 90000, "MZN": 3300,
    "NAD": 1000, "NGN": 80000, "NIO": 1900, "NPR": 7000, "OMR": 200, "PAB": 50, "PEN": 200,
    "PGK": 220, "PHP": 3000, "PKR": 15000, "PYG": 4000, "QAR": 200, "RSD": 5500, "RUB": 5000,
    "RWF": 750, "SAR": 200, "SBD": 450, "SCR": 800, "SHP": 40, "SLE": 1200, "SOS": 29000,
    "SRD": 2000, "STD": 1200000, "SZL": 1000, "TJS": 550, "TND": 1600, "TOP": 120, "TRY": 2200,
    "TTD": 350, "TWD": 1700, "TZS": 140000, "UAH": 2200, "UGX": 2000, "UYU": 2100,
    "UZS": 650000, "VND": 13500, "VUV": 65, "WST": 150, "XAF": 320, "XCD": 140, "XCG": 100,
    "XOF": 320, "XPF": 60, "YER": 13000, "ZAR": 1000, "ZMW": 1400,
}  # fmt: skip
# Currencies in which plans may be priced, but which are paid manually, never by card.
_BY_HAND: Final = frozenset(
    {
        "BTN", "CLF", "CUP", "ERN", "GHS", "IQD", "IRR", "KPW", "LYD", "MRU", "SDG", "SSP", "STN",
        "SVC", "SYP", "TMT", "UYI", "UYW", "VED", "VES", "ZWG",
    }
)  # fmt: skip
_UNITS: Final = {"ISK": 2, "MGA": 0, "UGX": 2}
"""The provider's exponent, where it differs from ISO's."""
_STEPS: Final = {"BHD": 10, "JOD": 10, "KWD": 10, "MGA": 100, "OMR": 10, "TND": 10}
"""The step of chargeable amounts, where it is more than one minor unit."""
_DIGITS: Final = {"COP": 10, "IDR": 12, "INR": 9}
"""The digits of the maximum of one charge, where they are not `DIGITS`."""
DIGITS: Final = 8
MINIMUMS: Final = {**_NAMED_MINIMUMS, **_ABOUT_HALF_A_DOLLAR}
"""The provider's minimum charge, in ISO minor units, for each currency of card payments."""
MINIMUM: Final = 1
"""The minimum in any other currency, which is paid manually."""
_TABLE: Final = {
    currency: Charging(
        exponent=_UNITS.get(currency, money.exponent(currency)),
        step=_STEPS.get(currency, 1),
        minimum=minimum,
        maximum=10 ** _DIGITS.get(currency, DIGITS) - 1,
    )
    for currency, minimum in MINIMUMS.items()
}


def charging(currency: str) -> Charging:
    """Return the provider's terms for `currency`. Errors: ProviderFailure if it is unsupported."""
    if (terms := _TABLE.get(currency)) is None:
        raise ProviderFailure("PLATFORM_ERROR", f"cards cannot be charged in {currency}")
    return terms


def chargeable(currency: str) -> bool:
    """True if a card can pay in this currency."""
    return currency in _TABLE


def known(currency: str) -> str:
    """Return the currency if it exists, even if no card can pay in it. Raises ValueError."""
    if currency not in _TABLE and currency not in _BY_HAND:
        raise ValueError(f"{currency} is not a currency")
    return currency


KnownCurrency = Annotated[str, AfterValidator(known)]
"""A currency that the card provider charges, or that is paid by hand."""


def to_provider(minor: int, currency: str) -> int:
    """Convert ISO minor units to the provider's unit: 100 ISK, which is 100, becomes 10000.

    Errors: ProviderFailure for an amount that the unit cannot express; nothing is rounded here.
    """
    finer = charging(currency).exponent - money.exponent(currency)
    if finer >= 0:
        return minor * int(10**finer)
    sent, rest = divmod(minor, int(10**-finer))
    if rest:
        raise ProviderFailure("PLATFORM_ERROR", f"{minor} of {currency} is not a whole unit")
    return sent


def from_provider(amount: int, currency: str) -> int:
    """Convert the provider's unit to ISO minor units."""
    finer = charging(currency).exponent - money.exponent(currency)
    return amount // int(10**finer) if finer >= 0 else amount * int(10**-finer)


def is_too_large(minor: int, currency: str) -> bool:
    """True if the amount exceeds the maximum charge and must be paid manually."""
    if (terms := _TABLE.get(currency)) is None:
        return False
    return minor > from_provider(terms.maximum, currency)


def demand_payable(minor: int, currency: str) -> None:
    """Refuse to charge a card more than the maximum. Errors: AMOUNT_TOO_LARGE."""
    if is_too_large(minor, currency):
        raise Conflict("AMOUNT_TOO_LARGE")


def demand_enough(minor: int, currency: str) -> None:
    """Refuse to charge a card less than the minimum. Errors: AMOUNT_TOO_SMALL."""
    if minor > 0 and not collectable(minor, currency):
        raise Conflict(
            "AMOUNT_TOO_SMALL",
            amount_cents=minor,
            least_cents=charging(currency).minimum,
            currency=currency,
        )


def collectable(due_minor: int, currency: str) -> int:
    """Return the part of an amount due that can be charged: whole steps; 0 below the minimum.

    In a currency without card payments that is the whole amount, to be paid manually.
    """
    if not chargeable(currency):
        return due_minor
    terms = charging(currency)
    rounded = due_minor - due_minor % terms.step
    return rounded if rounded >= terms.minimum else 0
