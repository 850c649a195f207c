"""A step that a run is given before its time is done at its time, not later."""

import asyncio
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from billing.core import ids
from billing.core.clock import real_now
from billing.matters.agenda import Step
from billing.money.trials.rules import TrialState
from tests.integration.actors import Actors
from tests.integration.workflows.test_slow_clocks import PATIENCE, pauses
from tests.replay.test_replay import replayer
from workflows.contracts import MatterRef, StepRequest
from workflows.trial import TrialWorkflow

AHEAD: Final = timedelta(seconds=3)


class Rows:
    """Stands in for the rows of a trial, which is refused its end before its time."""

    def __init__(self) -> None:
        self.ends = real_now() + AHEAD
        self.asked: list[datetime] = []
        self.is_over = False

    @property
    def head(self) -> Step:
        return Step(name="expire", due=self.ends, key="acc_1/trial-expire", words="end the trial")

    @property
    def state(self) -> TrialState:
        status = "expired" if self.is_over else "active"
        return TrialState(status=status, account="acc_1", expires_at=self.ends)

    @activity.defn(name="trial.load")
    async def load(self, _: MatterRef) -> TrialState:
        return self.state

    @activity.defn(name="trial.expire")
    async def expire(self, _: StepRequest) -> TrialState:
        self.asked.append(real_now())
        self.is_over = real_now() >= self.ends
        return self.state


async def lived(client: Client, rows: Rows) -> WorkflowHistory:
    """The history of the trial, on a worker of its own."""
    queue, subject = f"early-heads-{uuid4()}", ids.new()
    ref = MatterRef(account_id=subject, kind="trial", subject_id=subject, head=rows.head)
    parts: dict[str, Any] = {"workflows": [TrialWorkflow], "activities": [rows.load, rows.expire]}
    async with Worker(
        client, task_queue=queue, workflow_runner=UnsandboxedWorkflowRunner(), **parts
    ):
        handle = await client.start_workflow(TrialWorkflow.run, ref, id=queue, task_queue=queue)
        await asyncio.wait_for(handle.result(), PATIENCE)
        return await handle.fetch_history()


async def test_a_step_tried_before_its_time_is_done_at_its_time(actors: Actors) -> None:
    """As an API of the release before gives it; it was taken for a refusal, and a second late."""
    rows = Rows()
    history = await lived(actors.temporal, rows)
    assert len(rows.asked) == 2
    assert len(pauses(history)) == 1, "it waits for nothing but its time"
    await replayer([TrialWorkflow]).replay_workflow(history)


async def test_a_run_that_the_release_before_began_goes_on_as_it_did(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "patched", lambda _: False)
    history = await lived(actors.temporal, Rows())
    monkeypatch.undo()
    assert pauses(history)[1:] == [timedelta(seconds=1)]
    await replayer([TrialWorkflow]).replay_workflow(history)
