"""Statements compiled once, at import, and run by psycopg itself inside SQLAlchemy's connection.

Building, compiling and wrapping a statement each time costs four times as much as running it.
Statements of purchases, renewals and usage events are constants of this type.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast

import psycopg
from psycopg import generators
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from sqlalchemy import (
    BindParameter,
    Executable,
    RowMapping,
    bindparam,
    text,
)
from sqlalchemy.dialects.postgresql import psycopg as dialects
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler

Row = dict[str, Any]
# A row from these functions or from SQLAlchemy's own.
Fields = Mapping[str, Any] | RowMapping
Sent = psycopg.AsyncCursor[Any]
_DIALECT: Final = dialects.PGDialectAsync_psycopg()  # type: ignore[no-untyped-call]


def given(name: str) -> BindParameter[Any]:
    """Return a parameter that each run of the statement must set."""
    return bindparam(name, required=False)


def written(word: str) -> BindParameter[str]:
    """Return a word of ours as part of the statement: with a parameter a generic plan, the one that
    a connection keeps after some runs, could not use the index of some words.
    """
    return bindparam(None, word, literal_execute=True)


class Prepared:
    """One statement; values go in by name, rows come out as dictionaries."""

    __slots__ = ("_defaults", "_encoders", "_names", "_order", "_sent", "_sql")

    def __init__(self, statement: Executable) -> None:
        compiled = cast(
            SQLCompiler,
            statement.compile(  # type: ignore[attr-defined]
                dialect=_DIALECT, compile_kwargs={"render_postcompile": True}
            ),
        )
        self._sql = str(compiled).encode()
        self._sent, self._order = _numbered(str(compiled))
        known = compiled.params
        self._defaults = {name: value for name, value in known.items() if value is not None}
        self._names = known.keys() - self._defaults.keys()
        self._encoders: dict[str, Callable[[Any], Any]] = {}
        for name in self._names:
            encode = compiled.binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            if encode is not None:
                self._encoders[name] = encode

    async def first(self, connection: AsyncConnection, **values: Any) -> Row | None:
        """Return the first row, if there is one."""
        found: Row | None = await (await self._run(connection, values)).fetchone()
        return found

    async def one(self, connection: AsyncConnection, **values: Any) -> Row:
        """Return the first row. Raises LookupError if there is none."""
        row = await self.first(connection, **values)
        if row is None:
            raise LookupError("the statement found no row")
        return row

    async def all(self, connection: AsyncConnection, **values: Any) -> list[Row]:
        """Return every row."""
        return await (await self._run(connection, values)).fetchall()

    async def scalar(self, connection: AsyncConnection, **values: Any) -> Any:
        """Return the first column of the first row, or None."""
        row = await self.first(connection, **values)
        return next(iter(row.values())) if row else None

    async def run(self, connection: AsyncConnection, **values: Any) -> int:
        """Execute the statement and return the number of affected rows."""
        return (await self._run(connection, values)).rowcount

    async def send(self, connection: AsyncConnection, **values: Any) -> Sent:
        """Execute the statement; in a pipeline without waiting for the answer."""
        return await self._run(connection, values)

    async def send_kept(self, connection: AsyncConnection, **values: Any) -> Sent:
        """As `send`; it is prepared from the first run on, not only after several."""
        return await self._run(connection, values, prepare=True)

    async def _run(
        self, connection: AsyncConnection, values: Mapping[str, Any], *, prepare: bool | None = None
    ) -> psycopg.AsyncCursor[Any]:
        if values.keys() != self._names:
            raise TypeError(f"values differ by {sorted(values.keys() ^ self._names)}")
        wanted = {**self._defaults, **values}
        for name, encode in self._encoders.items():
            wanted[name] = encode(wanted[name])
        cursor = psycopg.AsyncRawCursor(driver_of(connection), row_factory=dict_row)
        try:
            given_values = [wanted[name] for name in self._order]
            return await cursor.execute(self._sent, given_values, prepare=prepare)
        except psycopg.Error as error:
            raise wrapped(error, self._sql.decode()) from error


def _numbered(sql: str) -> tuple[bytes, list[str]]:
    """Return the statement with Postgres's numbered parameters, and the name of each.

    With named ones the driver would search a long statement each time.
    """
    places: dict[str, str] = {}

    def place(found: re.Match[str]) -> str:
        name = found[1]
        return places.setdefault(name, f"${len(places) + 1}") if name else "%"

    numbered = re.sub(r"%\((\w+)\)s|%%", place, sql)
    return numbered.encode(), list(places)


async def find(connection: AsyncConnection, query: Executable) -> RowMapping | None:
    """Return the row of a query that is built each time, if there is one."""
    return (await connection.execute(query)).mappings().one_or_none()


@asynccontextmanager
async def pipeline(connection: AsyncConnection) -> AsyncIterator[None]:
    """Share round trips between statements; an error is raised at the first answer read."""
    try:
        async with driver_of(connection).pipeline():
            yield
    except psycopg.Error as error:
        raise wrapped(error, "a pipeline of statements") from error


# Reading a matter joins dozens of tables by their keys, and planning takes four fifths of the time.
# Postgres would re-plan it on every run, because it expects custom plans to be cheaper. One plan by
# indexes fits all cases, however few rows there are.
PLANS: Final = (
    "set_config('plan_cache_mode', 'force_generic_plan', true),"
    " set_config('enable_seqscan', 'off', true)"
)
PLANNED: Final = "its plans are kept"
_PLANNED_ONCE: Final = Prepared(text(f"SELECT {PLANS}"))
FIRST: Final = "what answers begin with"


async def answers(
    connection: AsyncConnection, *statements: tuple[Prepared, Mapping[str, Any]]
) -> list[list[Row]]:
    """Run a matter's statements in one round trip, in order; return the rows of each.

    These and the transaction's later statements are planned once per connection.
    """
    begin = connection.info.get(FIRST)
    async with pipeline(connection):
        if begin is not None:
            await begin(connection)
        elif PLANNED not in connection.info:
            await _PLANNED_ONCE.send_kept(connection)
        sent = [await one.send_kept(connection, **given_values) for one, given_values in statements]
        return [await cursor.fetchall() for cursor in sent]


async def last_of(
    connection: AsyncConnection, *statements: tuple[Prepared, Mapping[str, Any]]
) -> list[Row]:
    """As `answers`; return the rows of the last statement."""
    return (await answers(connection, *statements))[-1]


def driver_of(connection: AsyncConnection) -> psycopg.AsyncConnection[Any]:
    """Return the underlying psycopg connection."""
    pooled = connection.sync_connection
    if pooled is None:
        raise RuntimeError("the connection was never opened")
    return cast("psycopg.AsyncConnection[Any]", pooled.connection.driver_connection)


async def undo(driver: psycopg.AsyncConnection[Any]) -> None:
    """Roll back a transaction without a Postgres error, and keep its prepared statements.

    The driver's rollback drops them all, in case the transaction created a table; ours create none.
    After a Postgres error the driver rolls back, because the state of a pipeline is uncertain.
    """
    if driver.pgconn.transaction_status == TransactionStatus.INTRANS:
        with suppress(psycopg.OperationalError):  # the pool notices that the server is down
            async with driver.lock:
                driver.pgconn.send_query(b"ROLLBACK")
                await driver.wait(generators.execute(driver.pgconn))


def wrapped(error: psycopg.Error, sql: str) -> DBAPIError:
    """Wrap the error as SQLAlchemy's, without values, so that callers catch one family."""
    found = DBAPIError.instance(
        sql, None, error, psycopg.Error, hide_parameters=True, dialect=_DIALECT
    )
    return cast(DBAPIError, found)
