"""Meters, products, and versions of their prices.

A product is what callers use (`gpt-4`); a meter is what is counted (`model_inference`).
"""

from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, StringConstraints

from billing.catalog.rating.schemas import Amount, PriceTerms
from billing.core.frozen import Strict

OVERRIDE: Final = "ovr"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
"""The key of a plan, pack, meter, feature or operation."""
MeterKind = Literal["sum", "count", "max", "last"]
LEVELS: Final = ("max", "last")
"""Meters of these kinds know only their account's rise within its cycle, not a user's
(`usage_is_level` in SQL).
"""
ServiceType = Literal[
    "model_inference", "mcp_service", "agent_execution", "storage_minio", "api_gateway",
    "notification",
]  # fmt: skip
"""The services whose use is billed [G2]."""


class Meter(Strict):
    """A counter of use, with the names that callers may use for it [X9, X32]."""

    key: str
    """The key of the meter."""
    name: str
    """Its name, for people."""
    unit: str
    """The name of one unit of it."""
    kind: MeterKind
    """The way of counting: sum or number of uses, or maximum of a level (`max`, `last` alike)."""
    service_types: tuple[str, ...]
    """The services whose use it counts."""
    feature_types: tuple[str, ...]
    """The features whose use it counts."""
    hourly: bool
    """True: also counted per hour, besides day and allowance cycle."""
    max_per_use: Amount
    """The maximum quantity of one use."""
    is_active: bool
    """False: it counts no new use."""


class ProductPrice(Strict):
    """One version of a product's price in one currency, or in credits."""

    id: UUID
    """The version of the price."""
    product: str
    """The key of the product."""
    currency: str
    terms: PriceTerms
    """The price: of one unit, or terms with a model."""
    effective_from: AwareDatetime
    """From when it applies."""
    effective_to: AwareDatetime | None
    """Until when it applied; null: it still does."""


class Override(ProductPrice):
    """A price of one account, agreed or from the product service; it overrides the product's own.

    [B10, B15]
    """

    account_id: UUID
    source: Literal["agreed", "service"]
    checked_at: AwareDatetime | None
    """Real time at which the product service last confirmed it, or what it offers."""
    offered: PriceTerms | None
    """The product service's terms while an agreement holds; they apply at its end."""


class Product(Strict):
    """A product, the service that uses it, and the meter it counts on."""

    key: str
    """The key of the product."""
    name: str
    """Its name, for people."""
    meter: str
    service_type: str
    is_active: bool
    """False: it is not sold."""
