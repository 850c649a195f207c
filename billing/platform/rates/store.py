"""Every query on the callers' rates."""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared, given
from billing.platform.rates.tables import rate_windows

_LEASE = Prepared(
    text(
        """
    INSERT INTO rate_windows AS w (name, began_at, taken)
    VALUES (:name, clock_timestamp(), :block)
    ON CONFLICT (name) DO UPDATE SET (began_at, taken) = (
        SELECT CASE WHEN goes_on THEN w.began_at ELSE excluded.began_at END,
            CASE WHEN goes_on THEN w.taken ELSE 0 END + excluded.taken
        FROM (SELECT w.began_at + CAST(:span AS interval) > excluded.began_at) s(goes_on))
    RETURNING taken, extract(epoch FROM began_at + CAST(:span AS interval) - clock_timestamp())
        AS seconds
    """
    )
)
_PURGE = Prepared(
    delete(rate_windows).where(rate_windows.c.began_at < func.clock_timestamp() - given("age"))
)


class Lease(NamedTuple):
    """Requests that a process may let through before it asks again."""

    granted: int
    """0: the caller has had its rate."""
    rest: int
    """Requests that are left to the caller besides, in all processes."""
    seconds: float
    """Until the window ends, and the lease with it."""


async def lease(
    connection: AsyncConnection, name: str, amount: int, span: timedelta, block: int
) -> Lease:
    """Take up to `block` of the caller's `amount` in this window."""
    row = await _LEASE.one(connection, name=name, span=span, block=block)
    over = max(0, row["taken"] - amount)
    return Lease(
        granted=max(0, block - over),
        rest=max(0, amount - row["taken"]),
        seconds=float(row["seconds"]),
    )


async def purge(connection: AsyncConnection, age: timedelta) -> None:
    """Forget windows that began so long ago."""
    await _PURGE.run(connection, age=age)
