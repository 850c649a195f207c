"""Jurisdictions with their rates, and a rate as it stands on an invoice's line."""

from decimal import Decimal
from typing import Final, Literal

from billing.core.frozen import Frozen

STANDARD: Final = "standard"
"""The category of goods that each jurisdiction has a rate for."""
WhyNone = Literal["reverse_charge", "exempt"]


class TaxRate(Frozen):
    """A rate in percent that a jurisdiction asks of a category of goods.

    `inclusive`: the price holds it already. `reason` says why a rate is zero.
    """

    jurisdiction: str
    category: str
    name: str
    rate: Decimal
    inclusive: bool = False
    reason: WhyNone | None = None


class Jurisdiction(Frozen):
    """A country or one of its regions, with its rates in percent by category."""

    key: str
    name: str
    rates: dict[str, Decimal]
    instead_of_country: bool = False


class Taxation(Frozen):
    """The facts that decide the taxes of one customer's invoice.

    `jurisdictions` are those of the customer's address that we collect for.
    """

    seller: str | None = None
    """The issuer's country."""
    country: str | None = None
    """The customer's country."""
    exempt: bool = False
    vat_proven: bool = False
    """True if the register of the customer's country knows its VAT id."""
    included_in: tuple[str, ...] = ()
    """Currencies whose prices hold their tax."""
    jurisdictions: tuple[Jurisdiction, ...] = ()
