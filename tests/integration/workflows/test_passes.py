"""Jobs that look at everything have the time for it, and another try knows where the last stood."""

from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.worker import Worker

from tests.integration.actors import Actors
from worker import workflow_runner
from workflows.contracts import JobReport, JobRequest
from workflows.job import NETS, JobWorkflow
from workflows.policies import PASS_HEARTBEAT, PASS_TIMEOUT, POLICIES, SWEEP_TIMEOUT
from workflows.schedules import PASSES


class Tries:
    """A job that is cut off once, after it has told its place."""

    def __init__(self) -> None:
        self.seen: list[activity.Info] = []

    @activity.defn(name="sweeper.sweep")
    async def sweep(self, request: JobRequest) -> JobReport:
        self.seen.append(activity.info())
        if len(self.seen) == 1:
            activity.heartbeat("0500", 500)
            raise RuntimeError("cut off")
        return JobReport(counts={"tries": len(self.seen)})


async def swept(actors: Actors, job: str) -> list[activity.Info]:
    tries, queue = Tries(), f"passes-{uuid4()}"
    running: dict[str, Any] = {"workflows": [JobWorkflow], "activities": [tries.sweep]}
    async with Worker(
        actors.temporal, task_queue=queue, workflow_runner=workflow_runner(), **running
    ):
        report = await actors.temporal.execute_workflow(
            JobWorkflow.run, JobRequest(name=job), id=queue, task_queue=queue
        )
    assert report.counts == {"tries": 2}
    return tries.seen


@pytest.mark.parametrize("job", sorted(PASSES | {"one-of-tomorrow"}))
async def test_a_pass_that_is_cut_off_goes_on(actors: Actors, job: str) -> None:
    seen = await swept(actors, job)
    assert [list(info.heartbeat_details) for info in seen] == [[], ["0500", 500]]
    silent = POLICIES.sweep_heartbeat if job in NETS else PASS_HEARTBEAT
    assert {info.heartbeat_timeout for info in seen} == {silent}
    assert {info.start_to_close_timeout for info in seen} == {PASS_TIMEOUT}


async def test_a_bounded_job_is_done_soon_or_left_to_its_next_run(actors: Actors) -> None:
    seen = await swept(actors, "sweep")
    assert {info.heartbeat_timeout for info in seen} == {POLICIES.sweep_heartbeat}
    assert {info.start_to_close_timeout for info in seen} == {SWEEP_TIMEOUT}
