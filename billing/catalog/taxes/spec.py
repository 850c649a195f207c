"""The section `taxes` of the catalog, as people write it."""

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from billing.catalog.products.schemas import Name
from billing.catalog.taxes.schemas import STANDARD
from billing.core import countries, currencies


def _place(key: str) -> str:
    countries.known(key.partition("-")[0])
    return key


JurisdictionKey = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"),
    AfterValidator(_place),
    Field(examples=["DE", "CA-QC"]),
]
"""A country by ISO 3166-1, or one of its regions by ISO 3166-2."""
HoldsTax = Annotated[str, AfterValidator(currencies.known)]
"""A currency whose prices hold their tax, by ISO 4217."""
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=4)]


TaxCode = Annotated[str, StringConstraints(pattern=r"^txcd_[0-9]{8}$")]
"""A kind of goods by Stripe's list of tax codes."""


class RatesSpec(BaseModel):
    """Rates in percent by category of goods, the standard one among them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rates: dict[Name, Percent]
    """Percent by category of goods, as texts; `standard` is one of them."""

    @field_validator("rates", mode="before")
    @classmethod
    def _no_floats(cls, rates: object) -> object:
        if isinstance(rates, dict) and any(isinstance(one, float) for one in rates.values()):
            raise ValueError('write a rate as a string, such as "7.7"')
        return rates

    @field_validator("rates")
    @classmethod
    def _has_a_standard_rate(cls, rates: dict[str, Decimal]) -> dict[str, Decimal]:
        if STANDARD not in rates:
            raise ValueError(f"there is no rate {STANDARD!r}")
        return rates


class LaterSpec(RatesSpec):
    """Rates that hold from a day on, by UTC."""

    since: date
    """The first day, by UTC."""


class JurisdictionSpec(RatesSpec):
    """The tax of a country or region as invoices name it, its rates, and those to come."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
    """The name of the tax on invoices."""
    later: tuple[LaterSpec, ...] = ()
    """Rates to come, by ascending days."""
    instead_of_country: bool = False
    """Of a region: its tax replaces the country's; false: it is added."""

    @field_validator("later")
    @classmethod
    def _in_order(cls, later: tuple[LaterSpec, ...]) -> tuple[LaterSpec, ...]:
        days = [one.since for one in later]
        if days != sorted(set(days)):
            raise ValueError("`since` must ascend")
        return later


class TaxesSpec(BaseModel):
    """The jurisdictions that tax is collected for; an address elsewhere has none."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    included_in: tuple[HoldsTax, ...] = ()
    """Currencies whose prices hold their tax; in others it is added."""
    codes: Annotated[dict[Name, TaxCode], Field(max_length=9)] = {}
    """The tax provider's codes of categories of goods; the others have the standard rate there."""
    jurisdictions: dict[JurisdictionKey, JurisdictionSpec] = {}
    """By country (ISO 3166-1) or region (ISO 3166-2)."""
