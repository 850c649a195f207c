"""What a product service is to the product: the terms it answers, behind one Protocol.

The service is asked per customer, because it may price each one its own way [B15].
"""

from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from billing.products.schemas import ServiceType
from billing.rating.schemas import PriceCurrency, PriceTerms


class Priced(BaseModel):
    """What a product costs a customer now, by currency; and by which service it is used."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    service_type: ServiceType | None
    prices: Annotated[dict[PriceCurrency, PriceTerms], Field(min_length=1)]


class PricesAway(Exception):
    """The service gave no price that can be used: it is away, slow, or answers nonsense."""

    def __init__(self, reason: str, *, reachable: bool = True) -> None:
        super().__init__(reason)
        self.reachable = reachable
        """Whether it answered at all: other products may be worth asking for."""


class PriceSource(Protocol):
    """Prices that somebody else keeps."""

    async def pricing(self, product: str, customer: str) -> Priced | None:
        """What the product costs the customer; None: it is not sold. Errors: PricesAway."""

    async def close(self) -> None:
        """Return every connection."""
