"""Postgres's room for our connections. Production does not start if it does not fit."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.connections import shortage
from billing.core.database import Database
from billing.core.settings import PRODUCTION, Settings

POOLS: Final = 2
"""Pools of one process on the primary: one for each role."""
_ROOM: Final = text(
    """
    SELECT current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0)
    """
)


_TAKEN: Final = text(
    "SELECT usename, count(*) AS taken FROM pg_stat_activity"
    " WHERE datname IS NOT NULL AND usename IS NOT NULL"  # autovacuum has no role
    " GROUP BY usename ORDER BY taken DESC, usename"
)
POOL_OF: Final = {"billing_app": "app", "billing_operator": "operator"}
_LIMITS: Final = text(
    "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolconnlimit >= 0 AND NOT rolsuper"
    " AND rolname IN ('billing_app', 'billing_operator')"
)


async def room(connection: AsyncConnection) -> int:
    """Return the connections that Postgres allows ordinary roles, other programs included."""
    return int((await connection.execute(_ROOM)).scalar_one())


async def taken(connection: AsyncConnection) -> dict[str, int]:
    """Return the open connections by role, most first, other programs included."""
    return {row.usename: row.taken for row in await connection.execute(_TAKEN)}


async def role_limits(connection: AsyncConnection) -> dict[str, int]:
    """Return the connection limits of our roles, by pool, where a limit is set."""
    found = await connection.execute(_LIMITS)
    return {POOL_OF[row.rolname]: row.rolconnlimit for row in found}


async def refuse_small_server(settings: Settings, database: Database) -> None:
    """End a production process whose Postgres could not serve even this process alone."""
    if settings.env != PRODUCTION or database.behind_pooler:
        return
    try:
        async with database.tenant_statement() as connection:
            given = await room(connection)
    except (DBAPIError, OSError):
        return  # it is unavailable: the process waits for it
    if said := shortage(1, POOLS * settings.database_pool_size, given):
        raise SystemExit(f"ENV=production: {said}")
