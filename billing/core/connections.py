"""Arithmetic of connections: what the pools of all processes may take must fit what Postgres gives.

A pool opens a connection when it needs one, so a server that is too small serves until it is busy.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database import Database
from billing.core.settings import PRODUCTION, Settings

POOLS: Final = 2
"""Of one process on the primary: one for each role."""
_ROOM: Final = text(
    """
    SELECT current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0)
    """
)


async def room(connection: AsyncConnection) -> int:
    """Connections that Postgres gives to roles like ours, those of other programs among them."""
    return int((await connection.execute(_ROOM)).scalar_one())


def shortage(processes: int, wanted: int, given: int) -> str | None:
    """The sentence for an operator where they do not fit."""
    if wanted <= given:
        return None
    return (
        f"the pools of {processes} process{'es' if processes > 1 else ''} may take {wanted}"
        f" connections and Postgres gives {given}:"
        " raise max_connections or lower BILLING_DATABASE_POOL_SIZE"
    )


def slots(most: Mapping[str, int], pool_size: int) -> dict[str, int]:
    """Steps at once of each queue, so that each step has a connection of the pool."""
    whole = sum(most.values())
    if pool_size >= whole:
        return dict(most)
    return {name: max(1, count * pool_size // whole) for name, count in most.items()}


async def refuse_small_server(settings: Settings, database: Database) -> None:
    """End a production whose Postgres could not even serve this process alone."""
    if settings.env != PRODUCTION:
        return
    try:
        async with database.operator() as connection:
            given = await room(connection)
    except (DBAPIError, OSError):
        return  # it is away: the process waits for it
    if said := shortage(1, POOLS * settings.database_pool_size, given):
        raise SystemExit(f"ENV=production: {said}")
