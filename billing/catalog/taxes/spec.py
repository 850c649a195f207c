"""The section `taxes` of the catalog, as people write it."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    field_validator,
)

from billing.catalog.products.schemas import Name
from billing.catalog.taxes.schemas import STANDARD
from billing.core import countries
from billing.core.currencies import KnownCurrency


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
Percent = Annotated[Decimal, Field(ge=0, le=100, decimal_places=4)]


TaxCode = Annotated[str, StringConstraints(pattern=r"^txcd_[0-9]{8}$")]
"""One of Stripe's tax codes."""


ONLY_REGIONS: Final = "only a region's tax can replace its country's"
"""The reason for a refusal, where a country's tax is to replace itself."""


class RatesSpec(BaseModel):
    """Rates in percent by category of goods, including the standard one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rates: dict[Name, Percent]
    """Percent by category of goods, as strings; `standard` is required."""

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
    """Rates that apply from a day on, in UTC."""

    since: date
    """The first day, in UTC."""


class JurisdictionSpec(RatesSpec):
    """The tax of a country or region: its name on invoices, its current and future rates."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
    """The name of the tax on invoices."""
    later: tuple[LaterSpec, ...] = ()
    """Future rates, by ascending day."""
    instead_of_country: StrictBool = False
    """Regions only: true if its tax replaces the country's; false: it is added."""

    def suits(self, key: str) -> bool:
        """False for a country's tax that would replace itself, and with it those of its regions."""
        return "-" in key or not self.instead_of_country

    @field_validator("later")
    @classmethod
    def _in_order(cls, later: tuple[LaterSpec, ...]) -> tuple[LaterSpec, ...]:
        days = [one.since for one in later]
        if days != sorted(set(days)):
            raise ValueError("`since` must ascend")
        return later


class TaxesSpec(BaseModel):
    """The jurisdictions where tax is collected; an address elsewhere pays none."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    included_in: tuple[KnownCurrency, ...] = ()
    """Currencies whose prices include tax; in others it is added."""
    codes: Annotated[dict[Name, TaxCode], Field(max_length=9)] = {}
    """The tax provider's codes by category; a category without one has the standard rate there."""
    jurisdictions: dict[JurisdictionKey, JurisdictionSpec] = {}
    """Taxes by country (ISO 3166-1) or region (ISO 3166-2)."""

    @field_validator("jurisdictions")
    @classmethod
    def _only_regions_replace(
        cls, jurisdictions: dict[str, JurisdictionSpec]
    ) -> dict[str, JurisdictionSpec]:
        for key, one in jurisdictions.items():
            if not one.suits(key):
                raise ValueError(f"{key}.instead_of_country: {ONLY_REGIONS}")
        return jurisdictions
