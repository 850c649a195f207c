"""Two bells that wake the background tasks as soon as there is something to do.

A task that gets no ring looks again after a nap, so a lost ring costs half a second at most.
"""

import asyncio

NAP_SECONDS = 0.5


class Bells:
    """One bell for deliveries, one for jobs."""

    def __init__(self) -> None:
        self.deliveries = asyncio.Event()
        self.jobs = asyncio.Event()

    def ring(self) -> None:
        """Wake both tasks, after a commit."""
        self.deliveries.set()
        self.jobs.set()

    async def wait(self, bell: asyncio.Event, seconds: float | None) -> None:
        """Wait until the bell rings, at most this many seconds (None: a nap)."""
        nap = NAP_SECONDS if seconds is None else min(max(seconds, 0.0), NAP_SECONDS)
        try:
            async with asyncio.timeout(nap):
                await bell.wait()
        except TimeoutError:
            return
        bell.clear()
