"""Jurisdictions with their rates, and a rate as shown on an invoice line."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, Literal, Self

from billing.core.frozen import Frozen

STANDARD: Final = "standard"
"""The category of goods that each jurisdiction has a rate for."""
WhyNone = Literal["reverse_charge", "exempt"]


class TaxRate(Frozen):
    """A jurisdiction's rate in percent for a category of goods.

    `inclusive`: the price includes it. `reason` says why a rate is zero.
    """

    jurisdiction: str
    category: str
    name: str
    rate: Decimal
    inclusive: bool = False
    reason: WhyNone | None = None


class LaterRates(Frozen):
    """Rates that apply from a day on, in UTC, until the next ones."""

    since: date
    rates: dict[str, Decimal]


class Jurisdiction(Frozen):
    """A country or one of its regions, with its rates in percent by category.

    `later` is ordered: the last rates that have begun apply.
    """

    key: str
    name: str
    rates: dict[str, Decimal]
    later: tuple[LaterRates, ...] = ()
    instead_of_country: bool = False

    def on(self, day: date) -> Self:
        """Return a copy with that day's rates."""
        begun = [one.rates for one in self.later if one.since <= day]
        return self.model_copy(update={"rates": begun[-1]}) if begun else self


class Taxation(Frozen):
    """The facts that decide the taxes of one customer's invoice.

    `jurisdictions` are those of the customer's address for which we collect tax.
    """

    seller: str | None = None
    """The issuer's country."""
    country: str | None = None
    """The customer's country."""
    exempt: bool = False
    vat_proven: bool = False
    """True if the register of the customer's country confirmed its VAT id."""
    vat_id: str | None = None
    """The customer's VAT id, confirmed or not."""
    included_in: tuple[str, ...] = ()
    """Currencies whose prices include tax."""
    jurisdictions: tuple[Jurisdiction, ...] = ()

    def at(self, instant: datetime) -> Self:
        """Return a copy with the rates of the instant's day."""
        day = instant.astimezone(UTC).date()
        return self.model_copy(
            update={"jurisdictions": tuple(one.on(day) for one in self.jurisdictions)}
        )
