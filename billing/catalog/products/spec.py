"""Meters and products as people write them: two sections of catalog.yaml, and admin bodies."""

from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from billing.catalog.products.schemas import MeterKind, Name, ServiceType
from billing.catalog.rating.schemas import Amount, PriceCurrency, StatedTerms

PRODUCT_KEY: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"
ProductKey = Annotated[str, StringConstraints(pattern=PRODUCT_KEY)]
"""A product's id as its callers know it, such as `gpt-4`."""
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]

MAX_PER_USE: Final = 10**12
"""The highest ceiling that a meter may have."""


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MeterSpec(_Spec):
    """A meter, and the names that callers use for it."""

    name: Words
    """The name that customers see, also on invoices."""
    unit: Words
    """The word for one unit, such as `token`."""
    kind: MeterKind = "sum"
    """The way a window is counted: sum or number of uses, or maximum or last of a level."""
    service_types: tuple[ServiceType, ...] = ()
    """Services whose use counts on it."""
    feature_types: tuple[Name, ...] = ()
    """Other names by which callers may report use of it."""
    grains: tuple[Literal["hour", "day", "cycle"], ...] = ("day", "cycle")
    """The windows that are counted: `day` and `cycle` always, `hour` if wanted."""
    max_per_use: Annotated[Amount, Field(gt=0, le=MAX_PER_USE)] = Decimal(10) ** 9
    """The most that one use may report, in units of the meter."""
    is_active: bool = True
    """False: it takes no use any more."""

    @field_validator("grains")
    @classmethod
    def _day_and_cycle_always(cls, grains: tuple[str, ...]) -> tuple[str, ...]:
        if not {"day", "cycle"} <= set(grains):
            raise ValueError("`day` and `cycle` are always counted; only `hour` may be added")
        return grains

    @property
    def hourly(self) -> bool:
        """True: each hour is counted too."""
        return "hour" in self.grains


class ProductSpec(_Spec):
    """A product with its `prices` by currency; a bare price is per unit."""

    name: Words
    """The name that customers see, also on invoices."""
    meter: Name
    """The meter on which its use counts."""
    service_type: ServiceType
    """The service that it is a part of."""
    is_active: bool = True
    """False: its use is refused."""
    prices: dict[PriceCurrency, StatedTerms] = {}
    """By currency, or in credits (`CREDIT`); a bare price is per unit."""

    @model_validator(mode="after")
    def _costs_something(self) -> Self:
        if self.is_active and not self.prices:
            raise ValueError("an active product needs a price; set 0 if it is free")
        return self
