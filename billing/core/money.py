"""Arithmetic of money and credits: integers of minor units, exact decimals, one rounding rule.

Each line is rounded once, half away from zero; splits use the largest remainder
(docs/rules/money.md).
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Final

ZERO: Final = Decimal(0)
CREDIT_STEP: Final = Decimal("0.000001")
CREDIT_DECIMALS: Final = 12
"""Credits that are granted, quantities and unit prices have at most so many."""
CREDIT_LIMIT: Final = Decimal(10) ** 15
"""Every amount of credits, quantity and unit price is below it."""
MINOR_LIMIT: Final = 10**15
"""Every sum of money that is given is below it, in minor units."""
# ISO 4217 exponents other than 2; for the provider's deviations see currencies.py.
EXPONENTS: Final = {
    "BHD": 3, "BIF": 0, "CLF": 4, "CLP": 0, "DJF": 0, "GNF": 0, "IQD": 3, "ISK": 0, "JOD": 3,
    "JPY": 0, "KMF": 0, "KRW": 0, "KWD": 3, "LYD": 3, "OMR": 3, "PYG": 0, "RWF": 0, "TND": 3,
    "UGX": 0, "UYI": 0, "UYW": 4, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
}  # fmt: skip


def exponent(currency: str) -> int:
    """Return the number of decimals of an ISO 4217 currency."""
    return EXPONENTS.get(currency, 2)


def round_minor(amount: Decimal) -> int:
    """Round to whole minor units, half away from zero."""
    return int(amount.to_integral_value(rounding=ROUND_HALF_UP))


def round_exact(amount: Fraction) -> int:
    """As `round_minor`, for an exact fraction."""
    size = (2 * abs(amount.numerator) + amount.denominator) // (2 * amount.denominator)
    return size if amount >= 0 else -size


def round_credits(amount: Decimal) -> Decimal:
    """Round credits to six decimals, half away from zero."""
    return amount.quantize(CREDIT_STEP, rounding=ROUND_HALF_UP)


def show_decimal(value: Decimal) -> str:
    """Format with at least two decimals and no other trailing zeros: "2.00", "0.002"; zero: "0"."""
    if not value:
        return "0"
    text = f"{value:f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def show_money(minor: int, currency: str) -> str:
    """Format for people: `49.00 EUR`."""
    digits = exponent(currency)
    return f"{Decimal(minor).scaleb(-digits):.{digits}f} {currency}"


def split(total_minor: int, weights: Sequence[int]) -> list[int]:
    """Split `total_minor` by weights with the largest remainder; the parts sum to the total."""
    whole = sum(weights)
    if whole <= 0:
        raise ValueError("weights must sum to more than zero")
    sign = -1 if total_minor < 0 else 1
    size = abs(total_minor)
    parts = [size * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(size * weights[i] % whole), i))
    for i in by_remainder[: size - sum(parts)]:
        parts[i] += 1
    return [sign * part for part in parts]
