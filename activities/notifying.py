"""Notifications of workflows, several at once; one failure does not stop the others.

The sweeper catches failures.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, TypeVar

from temporalio.client import Client
from temporalio.service import RPCError

from billing.matters.schemas import Matter
from workflows import start

AT_ONCE: Final = 16
"""Concurrent calls to Temporal, so that it is not flooded."""
T = TypeVar("T")
_logger = logging.getLogger("activities.notifying")


async def tried(call: Awaitable[T]) -> T | None:
    """Make one call; log a refusal and return None, so that other calls go on."""
    try:
        return await call
    except RPCError as refusal:
        _logger.warning("a workflow could not be notified; the sweeper notifies it: %s", refusal)
        return None


async def call_each(calls: Iterable[Callable[[], Awaitable[object]]]) -> int:
    """Make these calls, some at a time; return how many succeeded."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(call: Callable[[], Awaitable[object]]) -> bool:
        async with gate:
            return bool(await tried(_done(call)))

    return sum(await asyncio.gather(*map(one, calls)))


async def nudge(client: Client, found: Iterable[Matter]) -> int:
    """Nudge each of these matters once; return how many were notified."""
    by_id = {matter.workflow_id: matter for matter in found}
    return await call_each(partial(start.nudge, client, matter) for matter in by_id.values())


async def start_or_nudge(client: Client, found: Iterable[Matter]) -> int:
    """Start matters that rest, which have no run; nudge one that has. Return how many were."""
    return await call_each(partial(_start_or_nudge, client, matter) for matter in found)


async def start_new(client: Client, found: Iterable[Matter]) -> int:
    """Start the matters that a decision created; return how many requests succeeded."""
    return await call_each(partial(start.start_new, client, matter) for matter in found)


async def begin(client: Client, found: Iterable[Matter]) -> int:
    """Begin the matters that have no run; return how many requests succeeded."""
    return await call_each(partial(start.begin, client, matter) for matter in found)


async def _start_or_nudge(client: Client, matter: Matter) -> None:
    if not await start.begin(client, matter):
        await start.nudge(client, matter)


async def _done(call: Callable[[], Awaitable[object]]) -> bool:
    await call()
    return True
