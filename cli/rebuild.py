"""Bringing every workflow back from Postgres: after a loss of Temporal, and harmless at any time.

What already runs is found and left alone, so a repeat changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from api.temporal import connect
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.insight.integrity import store as integrity_store
from billing.matters import sweeps
from billing.matters.schemas import Matter
from billing.platform.accounts import store as accounts
from workflows import start, visibility
from workflows.schedules import ensure_schedules

PAGE: Final = 200
AT_ONCE: Final = 24
"""Workflows looked at or started at one time: Temporal is loaded, not flooded."""
PAUSES: Final = (1, 2, 4, 8)
"""Seconds to wait before a matter is tried again."""
OUT_OF_BREATH: Final = frozenset(
    {
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.UNAVAILABLE,
    }
)

Progress = Callable[[int, int], None]
"""Told (done, of how many) as the matters are gone through."""


@dataclass(frozen=True)
class Rebuilt:
    """Counts of a rebuild: found and started."""

    open_matters: int
    found: int
    """Workflows that ran already."""
    started: int
    """Workflows that were missing."""
    walks: int
    """Clocks that were on their way, told to go on."""
    schedules: tuple[str, ...]
    """Schedules that were missing."""

    @property
    def words(self) -> str:
        """One line for people."""
        made = f"{len(self.schedules)} schedules made" if self.schedules else "schedules in place"
        return (
            f"{self.open_matters} open matters: {self.started} missing and started, "
            f"{self.found} found running; {self.walks} clocks walk on; {made}"
        )


async def rebuild(settings: Settings, progress: Progress) -> Rebuilt:
    """Give every open matter its workflow again. Errors: RPCError when Temporal is away."""
    database = open_database(settings)
    try:
        client = await connect(settings)
        schedules = await ensure_schedules(client)
        found = started = 0
        async for running, missing, total in _pages(database, client):
            found, started = found + running, started + missing
            progress(found + started, total)
        async with database.operator() as connection:
            walking = await accounts.advancing(connection)
        for account_id in walking:
            await start.walk(client, account_id)
        return Rebuilt(
            open_matters=found + started,
            found=found,
            started=started,
            walks=len(walking),
            schedules=tuple(schedules),
        )
    finally:
        await database.close()


async def _pages(database: Database, client: Client) -> AsyncIterator[tuple[int, int, int]]:
    """(found, started, open in all) of each page of open matters."""
    slots = asyncio.Semaphore(AT_ONCE)
    after = ""
    while True:
        async with database.operator() as connection:
            total = await integrity_store.count_open_matters(connection)
            page = await sweeps.open_page(connection, after, PAGE)
        ran = await asyncio.gather(*(_ensure(client, matter, slots) for matter in page))
        yield sum(ran), len(ran) - sum(ran), total
        if len(page) < PAGE:
            return
        after = page[-1].workflow_id


async def _ensure(client: Client, matter: Matter, slots: asyncio.Semaphore) -> bool:
    """Start the workflow unless it runs; True if it ran already. A busy server is asked again."""
    async with slots:
        for pause in PAUSES:
            try:
                return await _found(client, matter)
            except RPCError as error:
                if error.status not in OUT_OF_BREATH:
                    raise
                await asyncio.sleep(pause)
        return await _found(client, matter)


async def _found(client: Client, matter: Matter) -> bool:
    if await visibility.is_running(client, matter.workflow_id):
        return True
    await start.ensure_running(client, matter)
    return False
