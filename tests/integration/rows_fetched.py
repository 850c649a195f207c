"""Rows and partitions that the statements of a transaction have read."""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_FETCHED: Final = text(
    "SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)"
    " FROM pg_stat_xact_user_tables WHERE starts_with(relname, :table)"
)
_SHOW: Final = text("SELECT set_config('app.accounts', CAST(:account AS text), true)")
_SCANNED: Final = text(
    "SELECT relname FROM pg_stat_xact_user_tables WHERE starts_with(relname, :table)"
    " AND coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0"
)


async def become_program(connection: AsyncConnection, account_id: UUID) -> None:
    """Go on as the program's role on one account: a policy changes the plans of statements."""
    await connection.execute(_SHOW, {"account": account_id})
    await connection.execute(text("SET LOCAL ROLE billing_app"))


async def fetched(connection: AsyncConnection, table: str) -> int:
    """Count the rows fetched since the transaction began, also of the table's partitions."""
    return int(await connection.scalar(_FETCHED, {"table": table}))


async def scanned(connection: AsyncConnection, table: str) -> set[str]:
    """Return the partitions that were read since the transaction began."""
    return set(await connection.scalars(_SCANNED, {"table": table}))
