"""Queries on the processes."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared, given
from billing.platform.processes.schemas import Process
from billing.platform.processes.tables import processes

_BEAT = Prepared(
    text(
        """
    INSERT INTO processes (id, kind, host, pid, version, started_at, seen_at, beats,
        clock_ahead_ms, figures)
    VALUES (:id, :kind, :host, :pid, :version, clock_timestamp(), clock_timestamp(), 1,
        extract(epoch FROM CAST(:now AS timestamptz) - clock_timestamp()) * 1000, :figures)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, beats = processes.beats + 1,
        clock_ahead_ms = excluded.clock_ahead_ms, figures = excluded.figures
    RETURNING beats, seen_at
    """
    ).bindparams(bindparam("figures", type_=JSONB))
)
_LEAVE = Prepared(delete(processes).where(processes.c.id == given("id")))
_FORGET = Prepared(
    delete(processes).where(processes.c.seen_at < func.clock_timestamp() - given("age"))
)


async def beat(connection: AsyncConnection, own: Process, now: datetime) -> tuple[int, datetime]:
    """Record that the process is alive; `now` is the time of its own clock. Return the number of
    its heartbeats in the database, with this one, and the database's time.
    """
    row = await _BEAT.one(
        connection,
        id=own.id,
        kind=own.kind,
        host=own.host,
        pid=own.pid,
        version=own.version,
        now=now,
        figures=own.figures.model_dump(mode="json"),
    )
    return row["beats"], row["seen_at"]


async def leave(connection: AsyncConnection, process_id: UUID) -> None:
    """Remove a process that ends properly, so that it is not reported as missing."""
    await _LEAVE.run(connection, id=process_id)


async def forget(connection: AsyncConnection, age: timedelta) -> None:
    """Delete processes that have been silent for longer than `age`."""
    await _FORGET.run(connection, age=age)


async def known(connection: AsyncConnection) -> tuple[datetime, list[Process]]:
    """Return the database's time, and every process that has not left, newest first."""
    now = await connection.scalar(select(func.clock_timestamp()))
    found = await connection.execute(select(processes).order_by(processes.c.started_at.desc()))
    rows = [
        Process.model_validate(
            {**row, "clock_ahead": timedelta(milliseconds=row["clock_ahead_ms"])}
        )
        for row in found.mappings()
    ]
    return now, rows  # type: ignore[return-value]
