"""Queries of the sweeper, the walker and a rebuild for matters that need attention."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, column, func, select, update
from sqlalchemy import table as sql_table
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.matters import store as matters
from billing.matters.kinds import KINDS
from billing.matters.schemas import Matter
from billing.matters.tables import matters as matter_rows

# The few columns this module needs of a table that is described elsewhere.
_ACCOUNTS: Final = sql_table("accounts", column("id", Uuid), column("clock_at"))


async def left_behind(
    connection: AsyncConnection, woken_before: datetime, limit: int
) -> list[Matter]:
    """Open matters that no workflow looked at: a process died between the commit and the call.

    Halted matters are left out: as long as they have a run, they retry by themselves, or when an
    operator says so. Those that do other steps meanwhile are in `halted_left_behind`.
    """
    is_open = (matter_rows.c.closed_at.is_(None), matter_rows.c.status == "open")
    return await _woken(connection, woken_before, limit, *is_open)


async def halted_left_behind(
    connection: AsyncConnection, woken_before: datetime, limit: int
) -> list[Matter]:
    """Halted matters that have other steps to do, and that no workflow looked at since woken."""
    kinds = [one.name for one in KINDS.values() if one.independent_steps]
    is_halted = (matter_rows.c.status == "halted", matter_rows.c.kind.in_(kinds))
    return await _woken(connection, woken_before, limit, *is_halted)


async def overdue(connection: AsyncConnection, due_before: datetime, limit: int) -> list[Matter]:
    """Open matters of accounts in real time whose step should have run before `due_before`."""
    return await _due(connection, "open", due_before, limit)


async def resting(connection: AsyncConnection, due_before: datetime, limit: int) -> list[Matter]:
    """Resting matters of accounts in real time that have something due before `due_before`."""
    return await _due(connection, "resting", due_before, limit)


async def still_resting(
    connection: AsyncConnection, names: Sequence[str], due_before: datetime
) -> list[str]:
    """Of the given matters, return those still resting with something due before then."""
    found = await connection.execute(
        select(matter_rows.c.workflow_id).where(
            matter_rows.c.workflow_id.in_(names),
            matter_rows.c.closed_at.is_(None),
            matter_rows.c.status == "resting",
            matter_rows.c.next_due < due_before,
        )
    )
    return [row[0] for row in found]


async def halted(
    connection: AsyncConnection, account_ids: Collection[UUID] | None = None
) -> list[Matter]:
    """Halted matters, of these accounts or of all: they wait for an hourly retry or an operator."""
    query = select(matter_rows).where(matter_rows.c.status == "halted")
    if account_ids is not None:
        query = query.where(matter_rows.c.account_id.in_(account_ids))
    found = await connection.execute(query)
    return [matters.show(row) for row in found.mappings()]


async def halted_page(connection: AsyncConnection, after: str, limit: int) -> list[Matter]:
    """The next page of halted matters in order of workflow id."""
    name = matter_rows.c.workflow_id
    found = await connection.execute(
        select(matter_rows)
        .where(matter_rows.c.status == "halted", name > after)
        .order_by(name)
        .limit(limit)
    )
    return [matters.show(row) for row in found.mappings()]


async def open_page(
    connection: AsyncConnection, after: str, limit: int, account_id: UUID | None = None
) -> list[Matter]:
    """Open matters in order of workflow id: of one account, or of all without resting ones."""
    query = select(matter_rows).where(
        matter_rows.c.closed_at.is_(None), matter_rows.c.workflow_id > after
    )
    if account_id is None:
        query = query.where(matter_rows.c.status != "resting")
    else:
        query = query.where(matter_rows.c.account_id == account_id)
    found = await connection.execute(query.order_by(matter_rows.c.workflow_id).limit(limit))
    return [matters.show(row) for row in found.mappings()]


async def count_open(connection: AsyncConnection) -> int:
    """Count those that `open_page` returns for all accounts, for a progress bar."""
    query = (
        select(func.count())
        .select_from(matter_rows)
        .where(matter_rows.c.closed_at.is_(None), matter_rows.c.status != "resting")
    )
    return int(await connection.scalar(query) or 0)


async def expect_look(connection: AsyncConnection, names: Sequence[str], at: datetime) -> None:
    """Note that these matters' workflows must look at their rows, if need be by a sweep."""
    await matters.take(connection, names)
    await connection.execute(
        update(matter_rows)
        .where(matter_rows.c.workflow_id.in_(names), matter_rows.c.closed_at.is_(None))
        .values(started_at=None, woken_at=at)
    )


async def unlooked(connection: AsyncConnection, names: Sequence[str]) -> list[str]:
    """Of the given matters, return those whose rows no workflow has looked at yet."""
    found = await connection.execute(
        select(matter_rows.c.workflow_id).where(
            matter_rows.c.workflow_id.in_(names),
            matter_rows.c.started_at.is_(None),
            matter_rows.c.closed_at.is_(None),
        )
    )
    return [row[0] for row in found]


async def due_first(
    connection: AsyncConnection, account_id: UUID, until: datetime
) -> Matter | None:
    """The account's matter with the lowest (next_due, kind rank, id) up to `until`."""
    found = await connection.execute(
        select(matter_rows).where(
            matter_rows.c.account_id == account_id,
            matter_rows.c.closed_at.is_(None),
            matter_rows.c.next_due.is_not(None),
            matter_rows.c.next_due <= until,
        )
    )
    return min(
        (m for m in map(matters.show, found.mappings()) if m.head),
        key=lambda m: (m.head.due, KINDS[m.kind].rank, m.workflow_id),  # type: ignore[union-attr]
        default=None,
    )


async def _woken(
    connection: AsyncConnection, before: datetime, limit: int, *conditions: ColumnElement[bool]
) -> list[Matter]:
    """Return matters that were woken before then and that no workflow looked at since."""
    found = await connection.execute(
        select(matter_rows)
        .where(matter_rows.c.started_at.is_(None), matter_rows.c.woken_at < before, *conditions)
        .order_by(matter_rows.c.woken_at)
        .limit(limit)
    )
    return [matters.show(row) for row in found.mappings()]


async def _due(
    connection: AsyncConnection, status: str, due_before: datetime, limit: int
) -> list[Matter]:
    found = await connection.execute(
        select(matter_rows)
        .join(_ACCOUNTS, _ACCOUNTS.c.id == matter_rows.c.account_id)
        .where(
            matter_rows.c.closed_at.is_(None),
            matter_rows.c.status == status,
            matter_rows.c.next_due < due_before,
            _ACCOUNTS.c.clock_at.is_(None),
        )
        .order_by(matter_rows.c.next_due)
        .limit(limit)
    )
    return [matters.show(row) for row in found.mappings()]
