"""Waking matters that have rested: all that are due within a day, a few at a time.

The next ones are told when these were looked at. So people, whose steps wait in the same queue,
find no more than a few before them, and a busy worker is given no more than it does.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from temporalio.client import Client

from activities import telling
from billing.core.clock import real_now
from billing.core.database import Database
from billing.matters import sweeps
from billing.matters.kinds import REST
from billing.matters.schemas import Matter
from workflows.policies import POLICIES

WAKES_FOR: Final = POLICIES.sweep_every * 3 / 4
"""The part of a run's time that is theirs; the next run goes on with the others."""
PATIENCE: Final = timedelta(seconds=2)
"""For a few to be looked at: one that nobody can look at keeps no other one waiting for long."""
LOOK_SECONDS: Final = 0.1
AT_ONCE: Final = telling.TOLD_AT_ONCE
"""Matters that are told and not looked at yet."""


async def wake(database: Database, client: Client, page: int) -> int:
    """Nudge what has rested, the earliest due first, page by page while there is time; how many
    could be told.
    """
    ends, told = real_now() + WAKES_FOR, 0
    asleep: set[str] = set()  # told, and not looked at in time: they are found again
    while True:
        async with database.operator() as connection:
            found = await sweeps.resting(connection, real_now() + REST, page + len(asleep))
        fresh = [matter for matter in found if matter.workflow_id not in asleep]
        if not fresh:
            return told
        for first in range(0, len(fresh), AT_ONCE):
            few = fresh[first : first + AT_ONCE]
            taken = await telling.nudge(client, few)
            if not taken:
                return told  # Temporal is away: the next run asks again
            told += taken
            asleep.update(await _until_looked(database, few, min(ends, real_now() + PATIENCE)))
            if real_now() >= ends:
                return told


async def _until_looked(
    database: Database, few: Sequence[Matter], deadline: datetime
) -> Sequence[str]:
    """Wait until these were looked at; those that were not by then."""
    names = [matter.workflow_id for matter in few]
    while True:
        async with database.operator() as connection:
            names = await sweeps.still_resting(connection, names, real_now() + REST)
        if not names or real_now() >= deadline:
            return names
        await asyncio.sleep(LOOK_SECONDS)
