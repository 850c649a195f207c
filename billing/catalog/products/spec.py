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
    model_config = ConfigDict(frozen=True, extra="forbid")


class MeterSpec(_Spec):
    """A meter, and the names that callers use for it."""

    name: Words
    unit: Words
    kind: MeterKind = "sum"
    service_types: tuple[ServiceType, ...] = ()
    feature_types: tuple[Name, ...] = ()
    grains: tuple[Literal["hour", "day", "cycle"], ...] = ("day", "cycle")
    max_per_use: Annotated[Amount, Field(gt=0, le=MAX_PER_USE)] = Decimal(10) ** 9
    """The most that one use may report."""
    is_active: bool = True

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
    meter: Name
    service_type: ServiceType
    is_active: bool = True
    prices: dict[PriceCurrency, StatedTerms] = {}

    @model_validator(mode="after")
    def _costs_something(self) -> Self:
        if self.is_active and not self.prices:
            raise ValueError("an active product needs a price: a free one costs 0")
        return self
