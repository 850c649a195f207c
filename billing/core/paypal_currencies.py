"""PayPal's currencies, and its amounts: decimal texts such as "9.99", or "1500" for yen.

Source: PayPal's documentation on currency codes. PayPal accepts no other currency.
"""

from decimal import Decimal
from typing import Final

from billing.core import money
from billing.core.errors import Conflict, ProviderFailure

TAKEN: Final = frozenset(
    {
        "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS", "JPY",
        "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "SEK", "SGD", "THB", "TWD", "USD",
    }
)  # fmt: skip
_WITHOUT_DECIMALS: Final = frozenset({"HUF", "JPY", "TWD"})


def is_taken(currency: str) -> bool:
    """True if PayPal accepts this currency."""
    return currency in TAKEN


def step(currency: str) -> int:
    """Return the ISO minor units of the smallest amount that PayPal expresses."""
    return int(10 ** max(0, money.exponent(currency) - _decimals(currency)))


def to_paypal(minor: int, currency: str) -> str:
    """Convert ISO minor units to PayPal's text. Errors: ProviderFailure if that is impossible."""
    value = Decimal(minor).scaleb(-money.exponent(currency))
    text = f"{value:.{_decimals(currency)}f}"
    if not is_taken(currency) or Decimal(text) != value:
        raise ProviderFailure("PLATFORM_ERROR", f"PayPal does not accept {value} {currency}")
    return text


def from_paypal(value: str, currency: str) -> int:
    """Convert PayPal's amount to ISO minor units."""
    return int(Decimal(value).scaleb(money.exponent(currency)))


def demand_taken(minor: int, currency: str) -> None:
    """Refuse an amount that PayPal cannot charge. Errors: CURRENCY_NOT_CHARGED."""
    try:
        to_paypal(minor, currency)
    except ProviderFailure as refused:
        raise Conflict("CURRENCY_NOT_CHARGED", refused.detail) from refused


def _decimals(currency: str) -> int:
    return 0 if currency in _WITHOUT_DECIMALS else 2
