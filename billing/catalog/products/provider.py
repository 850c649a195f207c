"""The protocol of a product service, and the price terms it answers.

The service is asked per customer, because it may price each one its own way [B15].
"""

from typing import Annotated, Protocol

from pydantic import Field, StringConstraints

from billing.catalog.products.schemas import ServiceType
from billing.catalog.rating.schemas import PriceCurrency, PriceTerms
from billing.core.frozen import Frozen


class Priced(Frozen):
    """The price of a product for a customer now, by currency; and the service that uses it."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    service_type: ServiceType | None
    prices: Annotated[dict[PriceCurrency, PriceTerms], Field(min_length=1)]


class PricesAway(Exception):
    """The service gave no price that can be used: it is away, slow, or answers nonsense."""

    def __init__(self, reason: str, *, reachable: bool = True) -> None:
        super().__init__(reason)
        self.reachable = reachable
        """True if it answered at all: other products may be worth asking for."""


class PriceSource(Protocol):
    """Prices that somebody else keeps."""

    async def pricing(self, product: str, customer: str) -> Priced | None:
        """The price of the product for the customer; None: it is not sold. Errors: PricesAway."""

    async def close(self) -> None:
        """Return every connection."""
