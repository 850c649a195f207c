"""The walk of a test account's clock: move to the next due instant, do its steps, repeat."""

import asyncio
from datetime import datetime, timedelta
from time import monotonic
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.dependencies import Dependencies
from activities.signs_of_life import heartbeating
from billing.core.clock import now_by, real_now
from billing.ledger.credits import service as credits
from billing.matters import store as matters
from billing.matters import sweeps
from billing.matters.schemas import Matter
from billing.platform.accounts import clocks
from billing.platform.accounts import store as accounts
from billing.platform.parking import store as parkings
from billing.platform.parking.service import CODE
from workflows import start
from workflows.contracts import WalkMove, WalkRequest
from workflows.policies import POLICIES

# One activity walks this long, then reports its progress to the workflow.
STRIDE_SECONDS: Final = 2.0
_MARGIN: Final = timedelta(seconds=5)
WALKS: Final = 8
"""Walks of a worker at once: they wait for steps, whose tries need places of the same queue."""
OTHERS_FIRST: Final = timedelta(seconds=1)
"""Until then a walk beyond these gives its place back."""
PARKED_AGAIN: Final = timedelta(seconds=10)
"""Until then a walk waits while billing is parked."""
AFTER_PARKING: Final = 2 * POLICIES.slowest_retry
"""A step that failed while billing was parked may be tried this long after it, so long a matter
that is busy or halted blocks no clock.
"""


class ClockActivities:
    """The activity that walks a test account's clock, one per account."""

    def __init__(self, dependencies: Dependencies, client: Client) -> None:
        self.database = dependencies.database
        self.client = client
        self._places = asyncio.Semaphore(WALKS)

    @activity.defn(name="clock.walk")
    async def walk(self, request: WalkRequest) -> WalkMove:
        """Walk for a stride. Errors: ApplicationError while as many walk as may, to be retried."""
        if self._places.locked():
            raise ApplicationError(
                "this clock walks once others have arrived",
                type="OthersFirst",
                next_retry_delay=OTHERS_FIRST,
                category=ApplicationErrorCategory.BENIGN,
            )
        async with self._places, heartbeating():
            return await self._stride(request.account_id)

    async def _stride(self, account_id: UUID) -> WalkMove:
        began = monotonic()
        while True:
            clock_at, matter = await self._advance(account_id)
            if matter is None:
                return WalkMove(clock_at=clock_at, done=True)
            why = await self._wait_until_done(matter)
            if why is not None:
                return await self._blocked(account_id, why)
            if monotonic() - began > STRIDE_SECONDS or activity.is_worker_shutdown():
                return WalkMove(clock_at=clock_at, done=False, moved=matter.workflow_id)

    async def _advance(self, account_id: UUID) -> tuple[datetime, Matter | None]:
        """Set the clock to the first due instant up to the target; no matter: it has arrived."""
        async with self.database.tenant(account_id) as connection:
            await _refuse_if_parked(connection)
            await credits.lock(connection, account_id)  # what is written begins at no past instant
            account = await accounts.lock(connection, account_id)
            clock_at = now_by(account.clock_at)
            if account.clock_target is None:
                return clock_at, None
            matter = await sweeps.due_first(connection, account_id, account.clock_target)
            if matter is None or matter.head is None:
                arrived = await clocks.arrive(connection, account)
                return now_by(arrived.clock_at), None
            clock_at = max(clock_at, matter.head.due)
            await clocks.move(connection, account_id, clock_at)
            return clock_at, matter

    async def _wait_until_done(self, matter: Matter) -> str | None:
        """Let one matter do all its due steps; return the reason if it cannot."""
        standing = await start.wait_until_done(self.client, matter, POLICIES.walk_timeout - _MARGIN)
        if standing is None:
            return f"{matter.workflow_id} is still busy"
        if standing.halted:
            return f"{matter.workflow_id} is halted: {standing.halted}"
        async with self.database.tenant(matter.account_id) as connection:
            now = await matters.find(connection, matter.workflow_id)
        if now is None or now.head is None:
            return None
        # With a new revision the matter was woken meanwhile and has something else to do.
        if (now.head, now.revision) == (matter.head, matter.revision):
            return f"{matter.workflow_id} does not get past {now.head.name}"
        return None

    async def _blocked(self, account_id: UUID, why: str) -> WalkMove:
        async with self.database.tenant(account_id) as connection:
            await _refuse_if_parked(connection, lately=AFTER_PARKING)
            account = await clocks.block(connection, account_id, why)
        return WalkMove(clock_at=now_by(account.clock_at), done=True, blocked=why)


async def _refuse_if_parked(connection: AsyncConnection, lately: timedelta = timedelta()) -> None:
    """Have the walk wait while billing is parked, or was lately. Errors: ApplicationError."""
    if await parkings.was_parked(connection, real_now() - lately):
        raise ApplicationError(
            "billing is parked, or was just now: the clock goes on after billing unpark",
            type=CODE,
            next_retry_delay=PARKED_AGAIN,
            category=ApplicationErrorCategory.BENIGN,
        )
