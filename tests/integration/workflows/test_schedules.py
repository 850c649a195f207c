"""The schedules of jobs: made where they are missing, and those of this release; a sweep that its
worker took with it is begun again soon.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import (
    ScheduleActionStartWorkflow,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.worker import Worker

from billing.matters.kinds import BACKGROUND
from tests.integration.actors import Actors, wait_for
from worker import workflow_runner
from workflows import schedules
from workflows.contracts import JobReport, JobRequest
from workflows.job import JobWorkflow
from workflows.policies import POLICIES, SWEEP_TIMEOUT, TEST
from workflows.schedules import JOBS, ensure_schedules

JOB = "housekeeping"


async def runs(handle: ScheduleHandle) -> tuple[ScheduleOverlapPolicy, bytes]:
    """The policy for two runs that would meet, and the argument of each."""
    there = (await handle.describe()).schedule
    assert isinstance(there.action, ScheduleActionStartWorkflow)
    return there.policy.overlap, there.action.args[0].data


async def test_a_schedule_becomes_that_of_the_release_and_stays_paused(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This one alone: the intervals here are not those of the stack's profile, whose sweeps are
    # seconds apart and wanted by the tests that come after.
    monkeypatch.setattr(schedules, "JOBS", {JOB: JOBS[JOB]})
    handle = actors.temporal.get_schedule_handle(f"billing-{JOB}")

    def older(known: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = known.description.schedule
        other = [ScheduleIntervalSpec(every=timedelta(days=7))]
        small = JobRequest(name=JOB, limit=7)
        return ScheduleUpdate(
            schedule=replace(
                schedule,
                action=ScheduleActionStartWorkflow(
                    "Sweep", small, id=f"sweep/{JOB}", task_queue="of the release before"
                ),
                spec=replace(schedule.spec, intervals=other),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL),
            )
        )

    before = await runs(handle)
    await handle.update(older)
    await handle.pause(note="by hand")

    async def is_paused() -> bool:
        return (await handle.describe()).schedule.state.paused

    await wait_for(is_paused, "the pause is known")
    try:
        assert await schedules.idle(actors.temporal) == [f"billing-{JOB} is paused"]
        assert await ensure_schedules(actors.temporal) == []

        async def is_renewed() -> bool:
            there = (await handle.describe()).schedule
            return [one.every for one in there.spec.intervals] == [JOBS[JOB]]

        await wait_for(is_renewed, "the interval is that of the release")
        found = (await handle.describe()).schedule
        assert (found.state.paused, found.state.note) == (True, "by hand")
        assert await runs(handle) == before
        assert before[0] is ScheduleOverlapPolicy.SKIP
        assert isinstance(found.action, ScheduleActionStartWorkflow)
        assert found.action.task_queue == BACKGROUND
        updated = (await handle.describe()).info.last_updated_at
        assert await ensure_schedules(actors.temporal) == []
        assert (await handle.describe()).info.last_updated_at == updated, "it is as it is to be"
    finally:
        await handle.unpause()
    monkeypatch.setattr(schedules, "JOBS", {"nothing": timedelta(days=1)})
    assert await schedules.idle(actors.temporal) == ["billing-nothing is missing"]


@pytest.mark.parametrize("job", ["sweep", "poll"])
async def test_a_net_that_its_worker_took_with_it_is_out_again_soon(
    actors: Actors, job: str
) -> None:
    tries, queue = 0, f"nets-{uuid4()}"

    @activity.defn(name="sweeper.sweep")
    async def sweep(request: JobRequest) -> JobReport:
        nonlocal tries
        tries += 1
        if tries == 1:  # as a worker does that died, or to which the task was never told
            await asyncio.sleep(SWEEP_TIMEOUT.total_seconds())
        return JobReport(counts={request.name: tries})

    async with Worker(
        actors.temporal,
        task_queue=queue,
        workflows=[JobWorkflow],
        activities=[sweep],
        workflow_runner=workflow_runner(),
    ):
        swept = actors.temporal.execute_workflow(
            JobWorkflow.run, JobRequest(name=job), id=queue, task_queue=queue
        )
        report = await asyncio.wait_for(swept, 5 * POLICIES.sweep_heartbeat.total_seconds())
    assert report.counts == {job: 2}


async def test_the_nets_of_the_stack_are_out_as_often_as_its_profile_says(actors: Actors) -> None:
    for job, every in {"sweep": TEST.sweep_every, "poll": TEST.poll_every}.items():
        found = (await actors.temporal.get_schedule_handle(f"billing-{job}").describe()).schedule
        assert [one.every for one in found.spec.intervals] == [every]
