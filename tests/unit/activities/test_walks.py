"""A walk of a test clock that its worker breaks off blames no matter, and is walked on; and many
of them leave room for the steps that they wait for.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

import pytest
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.clock import OTHERS_FIRST, WALKS, ClockActivities
from activities.dependencies import Dependencies
from billing.matters.schemas import Matter, of_account
from workflows.contracts import WalkMove, WalkRequest

ACCOUNT: Final = UUID(int=1)
AT: Final = datetime(2027, 1, 1, tzinfo=UTC)
SOON: Final = 0.05
NOTHING: Any = None


class Busy:
    """Temporal, while no worker takes the tasks of the matter that is waited for."""

    async def execute_update_with_start_workflow(
        self, _: str, *, start_workflow_operation: Any, **__: Any
    ) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            start_workflow_operation._workflow_handle.set_exception(error)
            raise WorkflowUpdateRPCTimeoutOrCancelledError from error


class Walks(ClockActivities):
    """Walks to a matter that is always due."""

    def __init__(self) -> None:
        super().__init__(Dependencies(NOTHING, NOTHING, NOTHING), cast("Any", Busy()))
        self.environment = ActivityEnvironment()
        self.blocked: list[str] = []

    async def _advance(self, account_id: UUID) -> tuple[datetime, Matter | None]:
        return AT, of_account(account_id)

    async def _blocked(self, account_id: UUID, why: str) -> WalkMove:
        self.blocked.append(why)
        return WalkMove(clock_at=AT, done=True, blocked=why)

    def begin(self) -> "asyncio.Task[WalkMove]":
        walking = self.environment.run(self.walk, WalkRequest(account_id=ACCOUNT))
        return asyncio.ensure_future(walking)


async def test_a_walk_that_a_stop_cancels_is_left_to_another_worker() -> None:
    """A deploy blocked each clock that waited: "sub_… is still busy"."""
    walks = Walks()
    walking = walks.begin()
    await asyncio.sleep(SOON)
    walks.environment.cancel()
    await asyncio.wait([walking], timeout=1)
    assert walking.cancelled()
    assert walks.blocked == []


async def test_a_worker_that_stops_ends_its_stride(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = Walks()

    async def done(_: Matter) -> None:
        await asyncio.sleep(SOON)
        walks.environment.worker_shutdown()

    monkeypatch.setattr(walks, "_wait_until_done", done)
    move = await asyncio.wait_for(walks.begin(), 1)
    assert (move.done, move.clock_at) == (False, AT)


async def test_more_walks_than_may_wait_give_their_places_back() -> None:
    """Clocks that waited for failing steps held all places, also those of the steps' next tries."""
    walks = Walks()
    walking = [walks.begin() for _ in range(WALKS)]
    await asyncio.sleep(SOON)
    with pytest.raises(ApplicationError) as left:
        await asyncio.wait_for(walks.begin(), 1)
    assert (left.value.next_retry_delay, left.value.non_retryable) == (OTHERS_FIRST, False)
    walks.environment.cancel()
    await asyncio.wait(walking, timeout=1)
    walks.environment = ActivityEnvironment()
    walking = [walks.begin()]
    await asyncio.sleep(SOON)
    assert not walking[0].done(), "it has a place, and waits"
    walks.environment.cancel()
    await asyncio.wait(walking, timeout=1)
