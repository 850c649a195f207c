"""The schedules: safety nets for missed timers and webhooks."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from billing.matters.kinds import BACKGROUND
from workflows.contracts import JobRequest
from workflows.job import BOUNDED
from workflows.policies import POLICIES

JOBS: dict[str, timedelta] = {
    BOUNDED: POLICIES.sweep_every,
    "poll": POLICIES.poll_every,
    "ensure-running": timedelta(days=1),
    "housekeeping": timedelta(days=1),
    "integrity": timedelta(hours=1),
    "usage-sync": timedelta(hours=1),
    "reconcile": timedelta(days=1),
}
PASSES = JOBS.keys() - {BOUNDED}


async def ensure_schedules(client: Client) -> list[str]:
    """Create the missing schedules, and give the others this release's intervals, policy and runs;
    a pause stays.

    Return the names of the schedules that were missing. Safe to repeat.
    """
    made = []
    for name, every in JOBS.items():
        wanted = _schedule(name, every)
        try:
            await client.create_schedule(f"billing-{name}", wanted)
            made.append(name)
        except ScheduleAlreadyRunningError:
            await _renew(client, client.get_schedule_handle(f"billing-{name}"), wanted)
    return made


async def idle(client: Client) -> list[str]:
    """Describe the schedules that are missing or paused. Errors: RPCError."""
    found = []
    for name in JOBS:
        known = client.get_schedule_handle(f"billing-{name}")
        try:
            state = (await known.describe()).schedule.state
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            found.append(f"{known.id} is missing")
        else:
            found += [f"{known.id} is paused"] if state.paused else []
    return found


async def _renew(client: Client, known: ScheduleHandle, wanted: Schedule) -> None:
    argument = await client.data_converter.encode(_action(wanted).args)

    def renewed(now: ScheduleUpdateInput) -> ScheduleUpdate | None:
        there = now.description.schedule
        if _parts(there, _action(there).args) == _parts(wanted, argument):
            return None
        return ScheduleUpdate(schedule=replace(wanted, state=there.state))

    await known.update(renewed)


def _action(schedule: Schedule) -> ScheduleActionStartWorkflow:
    if not isinstance(schedule.action, ScheduleActionStartWorkflow):
        raise TypeError(f"a schedule starts a workflow, not {schedule.action}")
    return schedule.action


def _parts(schedule: Schedule, argument: Sequence[Payload]) -> list[object]:
    """Return what a release says of a schedule; a window for missed runs is the server's."""
    run = _action(schedule)
    return [
        schedule.spec.intervals, schedule.policy.overlap, schedule.policy.pause_on_failure,
        run.workflow, run.id, run.task_queue, [one.data for one in argument],
        run.execution_timeout, run.run_timeout, run.task_timeout, run.retry_policy,
    ]  # fmt: skip


def _schedule(name: str, every: timedelta) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            "Sweep",
            JobRequest(name=name),
            id=f"sweep/{name}",
            task_queue=BACKGROUND,
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
