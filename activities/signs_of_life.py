"""Signs of life of an activity while something in it takes long.

Whoever took it and died is silent: after the heartbeat's timeout somebody else gets it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from temporalio import activity

BEAT_SECONDS: Final = 1.0
"""Between two signs; the SDK sends on as many of them as the timeout asks for."""


@asynccontextmanager
async def told_alive(*place: object) -> AsyncIterator[None]:
    """Tell that this activity lives, with the place that another try goes on from."""

    async def tell() -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            activity.heartbeat(*place)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()
