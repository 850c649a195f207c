"""The schedules: safety nets for missed timers and webhooks."""

from dataclasses import replace
from datetime import timedelta

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
    """Create the missing schedules, and give the others this release's intervals; a pause stays.

    Return the names of the schedules that were missing. Safe to repeat.
    """
    made = []
    for name, every in JOBS.items():
        wanted = _schedule(name, every)
        try:
            await client.create_schedule(f"billing-{name}", wanted)
            made.append(name)
        except ScheduleAlreadyRunningError:
            await _renew(client.get_schedule_handle(f"billing-{name}"), wanted.spec)
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


async def _renew(known: ScheduleHandle, spec: ScheduleSpec) -> None:
    def renewed(now: ScheduleUpdateInput) -> ScheduleUpdate | None:
        there = now.description.schedule
        if there.spec.intervals == spec.intervals:
            return None
        return ScheduleUpdate(schedule=replace(there, spec=spec))

    await known.update(renewed)


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
