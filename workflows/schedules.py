"""The schedules: nets that catch what the durable timers and webhooks should have done."""

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)

from billing.matters.kinds import BACKGROUND
from workflows.contracts import SweepRequest
from workflows.policies import POLICIES

JOBS: dict[str, timedelta] = {
    "sweep": POLICIES.sweep_every,
    "poll": POLICIES.poll_every,
    "ensure-running": timedelta(days=1),
    "housekeeping": timedelta(days=1),
    "integrity": timedelta(hours=1),
    "usage-sync": timedelta(hours=1),
}


async def ensure_schedules(client: Client) -> list[str]:
    """Make the schedules that are missing; answers their names. Safe to repeat."""
    made = []
    for name, every in JOBS.items():
        try:
            await client.create_schedule(f"billing-{name}", _schedule(name, every))
            made.append(name)
        except ScheduleAlreadyRunningError:
            continue
    return made


def _schedule(name: str, every: timedelta) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            "Sweep",
            SweepRequest(name=name),
            id=f"sweep/{name}",
            task_queue=BACKGROUND,
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
