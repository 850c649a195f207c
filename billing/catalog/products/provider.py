"""The protocol of a product service, and the price terms it returns.

Each request names a customer, because prices may differ per customer [B15].
"""

from typing import Annotated, Protocol

from pydantic import Field, StringConstraints

from billing.catalog.products.schemas import ServiceType
from billing.catalog.rating.schemas import PriceCurrency, PriceTerms
from billing.core.frozen import Frozen


class Priced(Frozen):
    """A product's current price for a customer, by currency, and the service that uses it."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    service_type: ServiceType | None
    prices: Annotated[dict[PriceCurrency, PriceTerms], Field(min_length=1)]


class PricesAway(Exception):
    """The service returned no usable price: it is unavailable, slow, or answers nonsense."""

    def __init__(self, reason: str, *, reachable: bool = True) -> None:
        super().__init__(reason)
        self.reachable = reachable
        """True if it answered at all, so that other products are worth requesting."""


class PriceSource(Protocol):
    """An external source of prices."""

    async def pricing(self, product: str, customer: str) -> Priced | None:
        """Return the product's price for the customer; None: not sold. Errors: PricesAway."""

    async def close(self) -> None:
        """Close every connection."""
