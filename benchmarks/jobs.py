"""Scheduled jobs over many accounts and over a tenth as many, with equally much to do."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Final

import psycopg

from activities.housekeeping import ARCHIVE_AFTER
from benchmarks.ground import Ground, Site, run_script
from benchmarks.harness import ROUNDS, Report
from benchmarks.rounds import Job, open_job
from billing.core.clock import real_now
from billing.matters import sweeps
from billing.money.purchases import store as purchases
from workflows.contracts import JobRequest

OLD: Final = 1_000
PAGE: Final = JobRequest(name="ensure-running").limit
SWEEPS: Final = 20
Once = Callable[[], Awaitable[float]]


async def measure(ground: Ground, report: Report) -> None:
    """Measure sweep, archiving and the pass over open matters, 100,000 accounts ÷ 10,000."""
    small, large = await _fill(ground.small), await _fill(ground.large)
    async with (
        open_job(ground, ground.small, "sweep") as few,
        open_job(ground, ground.large, "sweep") as many,
    ):
        pairs = await _turns(partial(_sweep, few), partial(_sweep, many))
        ratios = [of_many / of_few for of_few, of_many in pairs]
        report.add("sweep_100k_vs_10k", ratios, "ratio", 1.5, 1.1, "lower")
        pairs = await _turns(
            partial(_archive, few, ground.small), partial(_archive, many, ground.large)
        )
        ratios = [of_many / of_few for of_few, of_many in pairs]
        report.add("archive_100k_vs_10k", ratios, "ratio", 1.5, 1.1, "lower")
        pairs = await _turns(partial(_pass, few, small), partial(_pass, many, large))
        ratios = [(of_many / large) / (of_few / small) for of_few, of_many in pairs]
        report.add("open_pass_100k_vs_10k", ratios, "ratio", 1.2, 1.1, "lower")


async def _turns(few: Once, many: Once) -> list[tuple[float, float]]:
    """Return the seconds of both, turn by turn; the first turn warms up."""
    taken = [(await few(), await many()) for _ in range(ROUNDS + 1)]
    return taken[1:]


async def _fill(site: Site) -> int:
    """Give each account matters and a purchase; return how many accounts there are."""
    with psycopg.connect(site.url, autocommit=True) as connection:
        await asyncio.to_thread(run_script, connection, "matters")
        connection.execute("VACUUM ANALYZE")
        found = connection.execute("SELECT count(*) FROM bench_picks").fetchone()
    assert found
    return int(found[0])


async def _sweep(job: Job) -> float:
    """Return the mean seconds of a sweep that finds nothing to do, as in nearly every minute."""
    began = perf_counter()
    for _ in range(SWEEPS):
        assert not any((await job.run()).values())
    return (perf_counter() - began) / SWEEPS


async def _archive(job: Job, site: Site) -> float:
    """Return the seconds to archive a thousand purchases."""
    with psycopg.connect(site.url, autocommit=True) as connection:
        run_script(connection, "old_purchases", purchases=OLD)
    now, began = real_now(), perf_counter()
    done = 0
    while done < OLD:
        async with job.database.operator() as connection:
            done += await purchases.archive(connection, ARCHIVE_AFTER, now)
    return perf_counter() - began


async def _pass(job: Job, accounts: int) -> float:
    """Return the seconds to read all open matters page by page, as `ensure-running` does. That it
    also asks Temporal for each page is left out, for this depends on Temporal alone.
    """
    began, seen, after = perf_counter(), 0, ""
    while True:
        async with job.database.operator() as connection:
            found = await sweeps.open_page(connection, after, PAGE)
        if not found:
            break
        seen, after = seen + len(found), found[-1].workflow_id
    assert seen == accounts, seen
    return perf_counter() - began
