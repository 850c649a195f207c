"""Products that are sold while a story needs them, and changes of the catalog by many stories."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from uuid import uuid4

import pytest

from tests.integration.actors import Actors, Json

Sell = Callable[[str, Json], Awaitable[str]]
_TURN: Final = asyncio.Lock()


async def put_in_turn(actors: Actors, path: str, body: Json) -> None:
    """Change the catalog after all others who do so here.

    Such changes wait for each other in Postgres, where many of them would wait for longer than a
    statement may take, and be answered 503.
    """
    async with _TURN:
        await actors.operate("PUT", path, body)


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
