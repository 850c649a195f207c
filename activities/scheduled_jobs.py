"""The scheduled jobs by name: safety nets, looks at the books, and housekeeping.

Each job is one pass; the schedules repeat it (workflows/schedules.py). Only the sweep's is bounded.
"""

from collections.abc import Awaitable, Callable

from temporalio import activity
from temporalio.client import Client

from activities import (
    earlier_release,
    housekeeping,
    integrity,
    leftovers,
    missing_runs,
    polling,
    reconciling,
    usage_sync,
)
from activities.dependencies import Dependencies
from activities.paged_scan import Undone
from billing.core.clock import agreed_now
from billing.core.database import Database
from billing.platform.jobs import store as jobs
from workflows.contracts import JobReport, JobRequest


class ScheduledJobs:
    """The jobs of the schedules, by name; each gets the size of its pages."""

    def __init__(self, dependencies: Dependencies, client: Client) -> None:
        database = self.database = dependencies.database
        provider, settings = dependencies.provider, dependencies.settings
        self.jobs: dict[str, Callable[[int], Awaitable[dict[str, int]]]] = {
            "sweep": lambda limit: leftovers.wake(database, client, limit),
            "poll": lambda _: polling.poll(database, provider, client),
            "ensure-running": lambda limit: _ensure_running(database, client, limit),
            "housekeeping": lambda _: housekeeping.clear(database, settings),
            "integrity": lambda limit: integrity.check(database, limit),
            "usage-sync": lambda limit: usage_sync.compare(database, limit),
            "reconcile": lambda _: reconciling.begin_daily(database, client),
        }

    # Histories have this name: once the sweep was the only job.
    @activity.defn(name="sweeper.sweep")
    async def run(self, request: JobRequest) -> JobReport:
        async with self.database.operator() as connection:
            began = await agreed_now(connection)
            first = began - polling.FIRST_BACK if request.name == "poll" else began
            await jobs.begun(connection, request.name, first)
        counts = await self.jobs[request.name](request.limit)
        async with self.database.operator() as connection:
            await jobs.looked(connection, request.name, began)
        return JobReport(counts=counts)


async def _ensure_running(database: Database, client: Client, limit: int) -> dict[str, int]:
    begun = await missing_runs.begin(database, client, limit)
    try:
        made_up = await earlier_release.make_up(database)
    except Undone:  # which is logged; a retry would begin the pass over all matters anew
        made_up = {"not_made_up": 1}
    return begun | made_up
