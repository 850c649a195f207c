"""Prices from a product service over HTTP [B15].

`GET {url}/api/v1/products/{product_id}/pricing?user_id={customer}` answers the terms of
`PriceTerms` (`billing.catalog.rating.schemas`) with a `currency` (CREDIT unless said), or
`prices` by currency.
"""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Final
from urllib.parse import quote

import httpx2
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from billing.catalog.products.provider import Priced, PricesAway
from billing.catalog.products.schemas import ServiceType
from billing.catalog.rating.schemas import CREDIT, PriceCurrency, PriceTerms, StatedTerms
from billing.core.json_members import each_once

MAX_BYTES: Final = 65_536
MAX_CONNECTIONS: Final = 32
NOT_SOLD: Final = 404


class _Head(BaseModel):
    """The part of an answer that is not about money; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    service_type: ServiceType | None = None
    currency: PriceCurrency = CREDIT


_PRICES: Final = TypeAdapter(Annotated[dict[PriceCurrency, StatedTerms], Field(min_length=1)])
_TERMS: Final = frozenset(PriceTerms.model_fields)


class HttpPrices:
    """A product service at a URL; each request ends after `timeout_seconds` and calls `headers`
    for its headers.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float,
        transport: httpx2.AsyncBaseTransport | None = None,
        headers: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self._headers = headers
        self._timeout_seconds = timeout_seconds
        self._client = httpx2.AsyncClient(
            base_url=url,
            timeout=timeout_seconds,
            transport=transport,
            trust_env=False,
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS),
        )

    async def pricing(self, product: str, customer: str) -> Priced | None:
        """Return the customer's price of a product; None for 404. Errors: PricesAway."""
        if not product.strip("."):
            return None  # `.` and `..` are steps in a path, whatever their spelling
        path = f"/api/v1/products/{quote(product, safe='')}/pricing"
        try:
            # A limit for the whole answer: the client's own limit is per read.
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._client.get(
                    path, params={"user_id": customer}, headers=self._headers()
                )
        except (httpx2.HTTPError, TimeoutError) as error:
            raise PricesAway(type(error).__name__, reachable=False) from error
        if answer.status_code == NOT_SOLD:
            return None
        if answer.status_code != 200:
            raise PricesAway(f"answered {answer.status_code}")
        return read(product, answer.content)

    async def close(self) -> None:
        """Return every connection."""
        await self._client.aclose()


def read(product: str, content: bytes) -> Priced:
    """Parse an answer into terms. Errors: PricesAway if it is not a price."""
    if len(content) > MAX_BYTES:
        raise PricesAway(f"answered more than {MAX_BYTES} bytes")
    try:
        body = json.loads(
            content,
            parse_float=Decimal,
            parse_constant=_no_number,
            object_pairs_hook=each_once,
        )
        if not isinstance(body, dict):
            raise ValueError("not an object")
        head = _Head.model_validate(body)
        terms = {name: value for name, value in body.items() if name in _TERMS}
        prices = body.get("prices", {head.currency: terms})
        return Priced(
            name=head.name or product,
            service_type=head.service_type,
            prices=_PRICES.validate_python(prices),
        )
    except (ValidationError, ValueError, RecursionError) as error:
        raise PricesAway(f"answered no price: {_first(error)}") from error


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not an amount")


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"
    return str(error)[:200]
