"""Heartbeats of an activity while something in it takes long.

A dead worker is silent: after the heartbeat timeout another worker gets the activity.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from temporalio import activity

BEAT_SECONDS: Final = 1.0
"""Seconds between heartbeats; the SDK throttles them by the timeout."""


@asynccontextmanager
async def heartbeating(*place: object) -> AsyncIterator[None]:
    """Send heartbeats with the position from which a retry continues."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            activity.heartbeat(*place)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
