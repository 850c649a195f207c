"""Room on the disk of Postgres. One that is full still takes what fits where something was."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database_errors import has_no_room

# Rows that memory does not hold go to a file, which needs new room and leaves nothing behind.
_LITTLE_MEMORY: Final = text("SET LOCAL work_mem = '64kB'")
FILL: Final = "SELECT count(*) FROM generate_series(1, 20000)"
"""This many rows are some hundred kilobytes."""


async def has_room(connection: AsyncConnection) -> bool:
    """Return False if Postgres says that its disk is full; the transaction continues."""
    try:
        async with connection.begin_nested():
            await connection.execute(_LITTLE_MEMORY)
            await connection.execute(text(FILL))
    except DBAPIError as error:
        return not has_no_room(error)
    return True
