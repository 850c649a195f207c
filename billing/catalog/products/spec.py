"""Meters and products as people write them: two sections of catalog.yaml, and admin bodies."""

from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    field_validator,
    model_validator,
)

from billing.catalog.products.schemas import MeterKind, Name, ServiceType
from billing.catalog.rating.schemas import CREDIT, Amount, PriceCurrency, StatedTerms
from billing.core.currencies import known

PRODUCT_KEY: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"
ProductKey = Annotated[str, StringConstraints(pattern=PRODUCT_KEY)]
"""A product's id as its callers know it, such as `gpt-4`."""
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]

MAX_PER_USE: Final = 10**12
"""The upper bound of a meter's `max_per_use`."""


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MeterSpec(_Spec):
    """A meter, and the names that callers use for it."""

    name: Words
    """The name that customers see, also on invoices."""
    unit: Words
    """The word for one unit, such as `token`."""
    kind: MeterKind = "sum"
    """The way of counting: sum or number of uses, or maximum of a level (`max`, `last` alike)."""
    service_types: tuple[ServiceType, ...] = ()
    """Services whose use it counts."""
    feature_types: tuple[Name, ...] = ()
    """Other names under which callers may report its use."""
    grains: tuple[Literal["hour", "day", "cycle"], ...] = ("day", "cycle")
    """The counted windows: always `day` and `cycle`, optionally `hour`."""
    max_per_use: Annotated[Amount, Field(gt=0, le=MAX_PER_USE)] = Decimal(10) ** 9
    """The maximum quantity of one use, in units of the meter."""
    is_active: StrictBool = True
    """False: it no longer accepts use."""

    @field_validator("grains")
    @classmethod
    def _day_and_cycle_always(cls, grains: tuple[str, ...]) -> tuple[str, ...]:
        if not {"day", "cycle"} <= set(grains):
            raise ValueError("`day` and `cycle` are always counted; only `hour` may be added")
        return grains

    @property
    def hourly(self) -> bool:
        """True: each hour is also counted."""
        return "hour" in self.grains


def _known(currency: str) -> str:
    return currency if currency == CREDIT else known(currency)


SoldIn = Annotated[PriceCurrency, AfterValidator(_known)]
"""Credits, or a currency that exists."""


class ProductSpec(_Spec):
    """A product with its `prices` by currency; a bare price is per unit."""

    name: Words
    """The name that customers see, also on invoices."""
    meter: Name
    """The meter that counts its use."""
    service_type: ServiceType
    """The service that it belongs to."""
    is_active: StrictBool = True
    """False: its use is refused."""
    prices: dict[SoldIn, StatedTerms] = {}
    """Prices by currency, or in credits (`CREDIT`); a bare price is per unit."""

    @model_validator(mode="after")
    def _costs_something(self) -> Self:
        if self.is_active and not self.prices:
            raise ValueError("an active product needs a price; set 0 if it is free")
        return self
