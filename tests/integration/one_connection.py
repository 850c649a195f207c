"""A database of which there is one connection: what is done to it is rolled back with a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database import Database


def seen_by(connection: AsyncConnection) -> Database:
    """The database as operators see it, by this connection alone."""

    @asynccontextmanager
    async def operator() -> AsyncIterator[AsyncConnection]:
        async with connection.begin_nested():
            yield connection

    return cast(Database, SimpleNamespace(operator=operator))
