"""Watches the replica, so that reads pass one by that is away, hangs or stands still."""

import asyncio
import math
from asyncio import Task
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from prometheus_client import Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billing.core.background import in_background
from billing.core.database import REPLICA_FAR_BEHIND, Database

# Less than a pass lasts, so that one follows the other.
EVERY_SECONDS: Final = 4.0
PATIENCE_SECONDS: Final = 4.0
BEHIND: Final = Gauge(
    "billing_replica_behind_seconds",
    "Age of the last commit that the replica has seen; infinite while it does not answer",
)


@asynccontextmanager
async def watching(database: Database) -> AsyncIterator[None]:
    """Look repeatedly while the app runs, if there is a replica."""
    if database.replica_engine is None:
        yield
        return
    async with in_background(_go_on(database)):
        yield


async def _go_on(database: Database) -> None:
    look: Task[timedelta] | None = None
    while True:
        # One that hangs answers a statement when it goes on, and no sooner: it is not asked again.
        look = look or asyncio.create_task(database.replica_lag())
        await asyncio.wait({look}, timeout=PATIENCE_SECONDS)
        behind = _seconds(look)
        BEHIND.set(behind)
        if behind > REPLICA_FAR_BEHIND.total_seconds():
            database.pass_replica_by("away" if math.isinf(behind) else "far behind")
        look = None if look.done() else look
        await asyncio.sleep(EVERY_SECONDS)


def _seconds(look: Task[timedelta]) -> float:
    if not look.done():
        return math.inf
    try:
        return look.result().total_seconds()
    except (DBAPIError, PoolTimeout):
        return math.inf
