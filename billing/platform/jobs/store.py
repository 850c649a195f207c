"""Every query on the runs of jobs."""

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
    """A job begins its first run: it has looked at nothing of after that instant."""
    await _BEGUN.run(connection, job=job, until=since)


async def looked_until(connection: AsyncConnection) -> dict[str, datetime]:
    """Up to when each job has looked; one that never began is not there."""
    return {row["job"]: row["looked_until"] for row in await _ALL.all(connection)}


async def looked(connection: AsyncConnection, job: str, until: datetime) -> None:
    """A job has looked at all of before."""
    await _LOOKED.run(connection, job=job, until=until)
