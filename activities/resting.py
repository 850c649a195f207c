"""The waking of resting matters that are due within a day, a few at a time.

The next batch is woken after the last one was handled. So users' steps, in the same queue, wait
behind a few at most, and a busy worker gets no more than it can do.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from temporalio.client import Client

from activities import notifying
from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import sweeps
from billing.matters.kinds import REST
from billing.matters.schemas import Matter
from workflows.policies import POLICIES

WAKES_FOR: Final = POLICIES.sweep_every * 3 / 4
"""The part of a run's time that waking may take; the next run wakes the others."""
PATIENCE: Final = timedelta(seconds=2)
"""The wait for a batch to be handled, so that a stuck matter does not delay others for long."""
LOOK_SECONDS: Final = 0.1
AT_ONCE: Final = notifying.AT_ONCE
"""Matters that are notified and not handled yet."""


async def wake(database: Database, client: Client, page: int) -> int:
    """Start resting matters, the earliest due first, page by page while there is time.

    Return how many were notified.
    """
    ends, notified = real_now() + WAKES_FOR, 0
    asleep: set[str] = set()  # notified but not handled in time: the query finds them again
    while True:
        async with database.operator() as connection:
            found = await sweeps.resting(connection, real_now() + REST, page + len(asleep))
        fresh = [matter for matter in found if matter.workflow_id not in asleep]
        if not fresh:
            return notified
        for first in range(0, len(fresh), AT_ONCE):
            few = fresh[first : first + AT_ONCE]
            taken = await notifying.start_or_nudge(client, few)
            if not taken:
                return notified  # Temporal is unavailable: the next run tries again
            notified += taken
            asleep.update(await _until_looked(database, few, min(ends, real_now() + PATIENCE)))
            if real_now() >= ends:
                return notified


async def _until_looked(
    database: Database, few: Sequence[Matter], deadline: datetime
) -> Sequence[str]:
    """Wait until these matters were handled; return those that were not by the deadline."""
    names = [matter.workflow_id for matter in few]
    while True:
        async with database.operator() as connection:
            names = await sweeps.still_resting(connection, names, real_now() + REST)
        if not names or real_now() >= deadline:
            return names
        await asyncio.sleep(LOOK_SECONDS)
