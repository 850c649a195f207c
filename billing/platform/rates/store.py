"""Every query on the callers' rates."""

from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared

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
# In the order of names: each is looked at once, and no window pays for an index by its time.
_PURGE = Prepared(
    text(
        """
    WITH page AS MATERIALIZED (
        SELECT name, began_at FROM rate_windows WHERE name > :after ORDER BY name LIMIT :page
    ), gone AS (
        DELETE FROM rate_windows
        WHERE name = ANY (ARRAY(SELECT name FROM page
                WHERE began_at < clock_timestamp() - CAST(:age AS interval)))
            AND began_at < clock_timestamp() - CAST(:age AS interval)
        RETURNING name
    )
    SELECT (SELECT count(*) FROM gone) AS many, (SELECT max(name) FROM page) AS last
    """
    )
)
PURGE_PAGE: Final = 5_000
"""Windows that are looked at in one transaction."""


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


async def purge(connection: AsyncConnection, age: timedelta, after: str) -> tuple[int, str | None]:
    """Forget those of a page of windows that began so long ago; how many, and the name that the
    next page begins behind. None: there are no more.
    """
    row = await _PURGE.one(connection, age=age, after=after, page=PURGE_PAGE)
    return row["many"], row["last"]
