"""Statements that wait for the end of a transaction, and share the round trip of its COMMIT."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import driver_of, pipeline

DEFERRED: Final = "deferred to the commit"
BeforeCommit = dict[Callable[[AsyncConnection, list[Any]], Awaitable[None]], list[Any]]


class Deferred:
    """One transaction's deferred statements; its connection's `info` holds them as `DEFERRED`."""

    def __init__(self) -> None:
        self.rows: BeforeCommit = {}
        self.shared: BeforeCommit = {}
        self.statements: list[Callable[[AsyncConnection], Awaitable[Any]]] = []

    def __bool__(self) -> bool:
        return bool(self.rows or self.shared or self.statements)

    async def commit(self, connection: AsyncConnection) -> None:
        """Commit with all deferred statements, in one round trip, or in two with shared rows: what
        one of these refuses undoes all.
        """
        async with pipeline(connection):
            for say, items in self.rows.items():
                await say(connection, items)
            await write_shared(connection)
            for send in self.statements:
                await send(connection)
            await driver_of(connection).commit()


def before_commit(connection: AsyncConnection) -> BeforeCommit | None:
    """Return the rows that each writer defers to the commit; None outside a transaction."""
    deferred: Deferred | None = connection.info.get(DEFERRED)
    return deferred.rows if deferred is not None else None


def shared_rows(connection: AsyncConnection) -> BeforeCommit | None:
    """Return the changes of rows for which other accounts wait, by their writer: they come behind
    all that locks only an account's rows, and a transaction that is rolled back never locks them.
    None outside a transaction.
    """
    deferred: Deferred | None = connection.info.get(DEFERRED)
    return deferred.shared if deferred is not None else None


async def write_shared(connection: AsyncConnection) -> None:
    """Write the changes of shared rows so far, so that these are locked before a number series."""
    shared = shared_rows(connection)
    while shared:
        write, items = shared.popitem()
        await write(connection, items)


def with_commit(
    connection: AsyncConnection, send: Callable[[AsyncConnection], Awaitable[Any]]
) -> None:
    """Send a statement together with the COMMIT, so that its locks span no round trip."""
    connection.info[DEFERRED].statements.append(send)
