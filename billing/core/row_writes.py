"""Write single rows by statements that are compiled once for each table and its set fields."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Column, Table, delete, insert, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared, Row, Sent, given


@cache
def _insertion(table: Table, columns: tuple[str, ...], *, answers: bool = True) -> Prepared:
    new = insert(table).values({name: given(name) for name in columns})
    return Prepared(new.returning(table) if answers else new)


@cache
def _insertion_of_rows(table: Table, columns: tuple[str, ...]) -> Prepared:
    named = ", ".join(f'"{name}"' for name in columns)
    new = text(
        f"INSERT INTO {table.name} ({named}) SELECT {named}"  # noqa: S608 - names of our tables
        f" FROM jsonb_populate_recordset(CAST(NULL AS {table.name}), CAST(:rows AS jsonb))"
    )
    return Prepared(new)


@cache
def _insertion_unless(
    table: Table, columns: tuple[str, ...], unique: Column[Any] | None, *, answers: bool = True
) -> Prepared:
    walls = None if unique is None else [unique]
    new = upsert(table).values({name: given(name) for name in columns})
    new = new.on_conflict_do_nothing(index_elements=walls)
    return Prepared(new.returning(table) if answers else new)


@cache
def _change(table: Table, columns: tuple[str, ...], *, answers: bool = True) -> Prepared:
    fields = {name: given(name) for name in columns}
    changed = update(table).where(table.c.id == given("id_of_row")).values(fields)
    return Prepared(changed.returning(table) if answers else changed)


@cache
def _removal(table: Table) -> Prepared:
    return Prepared(delete(table).where(table.c.id == given("id_of_row")))


async def add(connection: AsyncConnection, table: Table, row: Mapping[str, Any]) -> Row:
    """Insert one row; return it with the table's defaults."""
    return await _insertion(table, tuple(row)).one(connection, **row)


async def add_unless_there(
    connection: AsyncConnection, table: Table, row: Mapping[str, Any]
) -> Row | None:
    """Insert one row; None if another row has one of its unique values."""
    return await _insertion_unless(table, tuple(row), None).first(connection, **row)


async def send_add(
    connection: AsyncConnection,
    table: Table,
    row: Mapping[str, Any],
    unique: Column[Any] | None = None,
) -> None:
    """Insert one row in a pipeline, unless another row has its `unique` value."""
    names = tuple(row)
    if unique is None:
        statement = _insertion(table, names, answers=False)
    else:
        statement = _insertion_unless(table, names, unique, answers=False)
    await statement.send(connection, **row)


async def send_rows(connection: AsyncConnection, table: Table, rows: Sequence[BaseModel]) -> None:
    """Insert rows that set the same fields with one statement in a pipeline."""
    names = sorted(rows[0].model_fields_set)
    written = ",".join(row.model_dump_json(exclude_unset=True) for row in rows)
    await _insertion_of_rows(table, tuple(names)).send(connection, rows=f"[{written}]")


async def send_change(
    connection: AsyncConnection, table: Table, row_id: Any, **fields: Any
) -> Sent:
    """Overwrite fields of one row in a pipeline; `rowcount` is known after the pipeline."""
    change = _change(table, tuple(fields), answers=False)
    return await change.send(connection, id_of_row=row_id, **fields)


async def send_removal(connection: AsyncConnection, table: Table, row_id: Any) -> Sent:
    """Delete one row in a pipeline."""
    return await _removal(table).send(connection, id_of_row=row_id)


async def change(connection: AsyncConnection, table: Table, row_id: Any, **fields: Any) -> Row:
    """Overwrite fields of the row with this `id`, which must exist; return the row."""
    return await _change(table, tuple(fields)).one(connection, id_of_row=row_id, **fields)
