"""The stored result of the latest hourly audit."""

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
    """Store the report in place of the previous one; unchecked accounts count as a fault."""
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
    """Return the latest audit's result, or None."""
    found = await connection.execute(select(integrity_runs))
    row = found.mappings().one_or_none()
    return Run.model_validate(row) if row is not None else None
