"""The result of the latest hourly look at the books, kept for whoever asks meanwhile."""

from datetime import datetime
from typing import Final

from sqlalchemy import literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.integrity.schemas import Report, Run
from billing.insight.integrity.tables import integrity_runs

UNSEEN: Final = "the books of an account can be looked at in time"


async def keep(
    connection: AsyncConnection,
    report: Report,
    *,
    seen: int,
    unseen: int,
    whole_at: datetime | None,
) -> None:
    """Keep it in place of the one before; accounts that could not be seen are as wrong."""
    wrong = [one.words for one in report.wrong]
    found = {
        "ran_at": report.as_of,
        "checks": len(report.checks),
        "wrong": [*wrong, f"{UNSEEN} ({unseen})"] if unseen else wrong,
        "accounts": seen,
        "whole_at": whole_at,
    }
    statement = insert(integrity_runs).values(is_latest=literal(True), **found)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["is_latest"], set_=found)
    )


async def latest(connection: AsyncConnection) -> Run | None:
    """The latest, if there was one."""
    found = await connection.execute(select(integrity_runs))
    row = found.mappings().one_or_none()
    return Run.model_validate(row) if row is not None else None
