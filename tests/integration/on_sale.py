"""Products that are sold while a story needs them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Json

Sell = Callable[[str, Json], Awaitable[str]]


@pytest.fixture
async def sell(actors: Actors) -> AsyncIterator[Sell]:
    """Sells a new product of a meter at these prices until the test ends.

    A price of a meter is everybody's: while it is there, credits or a card may pay a use of the
    meter that only a plan paid before.
    """
    sold: dict[str, Json] = {}

    async def put(meter: str, prices: Json) -> str:
        key = f"tool-{uuid4().hex[:12]}"
        body = {"name": "Tool", "meter": meter, "service_type": "mcp_service", "prices": prices}
        await actors.operate("PUT", f"/admin/products/{key}", body)
        sold[key] = body
        return key

    yield put
    for key, body in sold.items():
        await actors.operate("PUT", f"/admin/products/{key}", body | {"is_active": False})
