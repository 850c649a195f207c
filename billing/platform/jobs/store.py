"""Queries on the runs of jobs."""

from datetime import datetime
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared
from billing.platform.jobs.tables import job_runs

_ALL: Final = Prepared(select(job_runs))
_BEGUN: Final = Prepared(
    text("INSERT INTO job_runs (job, looked_until) VALUES (:job, :until) ON CONFLICT DO NOTHING")
)
_LOOKED: Final = Prepared(
    text(
        "INSERT INTO job_runs (job, looked_until) VALUES (:job, :until)"
        " ON CONFLICT (job) DO UPDATE SET looked_until = excluded.looked_until"
    )
)


async def begun(connection: AsyncConnection, job: str, since: datetime) -> None:
    """Register a job's first run: it has processed nothing after that instant."""
    await _BEGUN.run(connection, job=job, until=since)


async def looked_until(connection: AsyncConnection) -> dict[str, datetime]:
    """Return the instant up to which each job has processed everything; only jobs that began."""
    return {row["job"]: row["looked_until"] for row in await _ALL.all(connection)}


async def looked(connection: AsyncConnection, job: str, until: datetime) -> None:
    """Record that a job has processed everything before `until`."""
    await _LOOKED.run(connection, job=job, until=until)
