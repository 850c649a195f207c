"""Rows and partitions that the statements of a transaction have read."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_FETCHED: Final = text(
    "SELECT coalesce(sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)), 0)"
    " FROM pg_stat_xact_user_tables WHERE starts_with(relname, :table)"
)
_SCANNED: Final = text(
    "SELECT relname FROM pg_stat_xact_user_tables WHERE starts_with(relname, :table)"
    " AND coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0"
)


async def fetched(connection: AsyncConnection, table: str) -> int:
    """Count the rows fetched since the transaction began, also of the table's partitions."""
    return int(await connection.scalar(_FETCHED, {"table": table}))


async def scanned(connection: AsyncConnection, table: str) -> set[str]:
    """Return the partitions that were read since the transaction began."""
    return set(await connection.scalars(_SCANNED, {"table": table}))
