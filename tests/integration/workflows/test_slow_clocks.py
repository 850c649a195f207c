"""A worker whose clock is behind refuses due steps; they are left to other workers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle, WorkflowHistory

from billing.money.account_agenda.rules import AccountState
from tests.integration.actors import Actors
from tests.integration.workflows.test_steps_apart import BEFORE, Rows, living
from tests.replay.test_replay import replayer
from workflows import matter
from workflows.account import AccountWorkflow
from workflows.contracts import StepRequest
from workflows.policies import REFUSED_HERE, pause_after_refusals

FASTER: Final = 50
PATIENCE: Final = 30.0
"""Temporal fires short timers some time later."""


class Behind(Rows):
    """A due step that is refused within the workflow's own task; another worker's clock is right
    from some try on.
    """

    def __init__(self, right_from: int) -> None:
        super().__init__()
        self.is_saved, self.limits_due, self.right_from = True, BEFORE, right_from

    @activity.defn(name="account.limits")
    async def limits(self, request: StepRequest) -> AccountState:
        self.done["here" if activity.info().is_local else "anywhere"] += 1
        if self.done["anywhere"] >= self.right_from:
            self.limits_due = None
        return self.state(request.ref)


@asynccontextmanager
async def refusing(
    client: Client, rows: Behind, *, as_before: bool = False
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """The matter on a worker of its own, with shorter pauses."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(matter, "pause_after_refusals", lambda n: pause_after_refusals(n) / FASTER)
        async with living(client, rows, as_before=as_before) as handle:
            yield handle


def pauses(history: WorkflowHistory) -> list[timedelta]:
    """The timers of a run."""
    events = json.loads(history.to_json())["events"]
    timers = [one for event in events if (one := event.get("timerStartedEventAttributes"))]
    return [timedelta(seconds=float(one["startToFireTimeout"].rstrip("s"))) for one in timers]


async def test_a_step_refused_again_and_again_is_any_workers(actors: Actors) -> None:
    """Each was refused every second, by the one worker that knows the run, until its clock came."""
    rows = Behind(right_from=2)
    async with refusing(actors.temporal, rows) as handle:
        await asyncio.wait_for(handle.result(), PATIENCE)
        history = await handle.fetch_history()
    assert rows.done == {"here": REFUSED_HERE, "anywhere": 2}
    assert [one * FASTER for one in pauses(history)] == [
        timedelta(seconds=seconds) for seconds in (1, 2, 4, 8)
    ]
    await replayer([AccountWorkflow]).replay_workflow(history)


async def test_a_run_that_the_release_before_began_leaves_each_try_to_any_worker(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Behind(right_from=REFUSED_HERE + 2)
    monkeypatch.setattr(workflow, "patched", lambda _: False)
    async with refusing(actors.temporal, rows, as_before=True) as handle:
        await asyncio.wait_for(handle.result(), PATIENCE)
        history = await handle.fetch_history()
    monkeypatch.undo()
    assert rows.done == {"anywhere": REFUSED_HERE + 2}
    await replayer([AccountWorkflow]).replay_workflow(history)
