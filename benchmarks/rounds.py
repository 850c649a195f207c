"""Hourly checks of a long and of a short history, with equally many changes since the last run."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from temporalio.testing import ActivityEnvironment

from activities.dependencies import Dependencies
from activities.scheduled_jobs import ScheduledJobs
from benchmarks.ground import Ground, Site
from benchmarks.harness import ROUNDS, Report
from benchmarks.loads import PAID, Loads
from billing.core.database import Database, open_database
from billing.core.settings import Settings
from billing.insight.rounds import store as rounds
from workflows.contracts import JobRequest

TURNS: Final = ROUNDS + 2


@dataclass(frozen=True)
class Job:
    """A schedule's job on one of the databases; `run` returns the counts of one pass."""

    run: Callable[[], Awaitable[dict[str, int]]]
    database: Database


async def measure(ground: Ground, report: Report) -> None:
    """Measure the seconds of an hourly run with 1M rows ÷ with 50k, a thousand of them new."""
    taken = await _turns(ground, "integrity")
    ratios = [large / small for (small, _), (large, _) in taken]
    report.add("verify_1m_vs_50k", ratios, "ratio", 1.5, 1.1, "lower")


async def measure_sync(ground: Ground, report: Report) -> None:
    """Measure the seconds per checked account, with a hundred thousand accounts ÷ ten thousand."""
    taken = await _turns(ground, "usage-sync")
    ratios = [(large / seen) / (small / few) for (small, few), (large, seen) in taken]
    report.add("usage_sync_100k_vs_10k", ratios, "ratio", 1.2, 1.1, "lower")


async def _turns(ground: Ground, name: str) -> list[tuple[tuple[float, int], ...]]:
    """Return (seconds, accounts) of both sites by turn; a hundred accounts change in each."""
    margin, found = rounds.MARGIN, []
    # Otherwise the rows that filled the databases would count as changes, too.
    rounds.MARGIN = type(margin)()  # type: ignore[misc]
    try:
        async with (
            open_job(ground, ground.small, name) as small,
            open_job(ground, ground.large, name) as large,
        ):
            for turn in range(TURNS):
                pair = []
                for site, job in ((ground.small, small), (ground.large, large)):
                    await Loads(ground, site).few(PAID)
                    began = perf_counter()
                    counts = await job.run()
                    pair.append((perf_counter() - began, counts["accounts"]))
                # The first turns warm up, and include the checks made once a day.
                if turn >= TURNS - ROUNDS:
                    found.append(tuple(pair))
    finally:
        rounds.MARGIN = margin  # type: ignore[misc]
    return found


@asynccontextmanager
async def open_job(ground: Ground, site: Site, name: str) -> AsyncIterator[Job]:
    """Open the schedule's activity, on one of the databases."""
    client: Any = None  # these jobs notify no workflow
    settings = Settings.model_validate(
        {
            "database_url": _of(ground.stack.env["DATABASE_URL"], site),
            "database_operator_url": _of(ground.stack.env["DATABASE_OPERATOR_URL"], site),
        }
    )
    async with open_database(settings) as database:
        parts = Dependencies(database=database, provider=client, settings=settings)
        job = ScheduledJobs(parts, client)

        async def once() -> dict[str, int]:
            report = await ActivityEnvironment().run(job.run, JobRequest(name=name))
            assert not report.counts.get("unseen"), report.counts
            return dict(report.counts)

        yield Job(once, database)


def _of(url: str, site: Site) -> str:
    """Return the address of the site's database, with the same server and role."""
    return url.replace("/billing?", f"/{site.name}?")
