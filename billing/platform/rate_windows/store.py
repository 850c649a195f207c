"""Queries on callers' rate limits."""

from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared

# The time is read after the row's lock: so a window that begins later was begun by a clock that has
# been set back since, and is over. Else its caller would wait until the old time comes again.
_LEASE = Prepared(
    text(
        """
    INSERT INTO rate_windows AS w (name, began_at, taken)
    VALUES (:name, clock_timestamp(), :block)
    ON CONFLICT (name) DO UPDATE SET (began_at, taken) = (
        SELECT CASE WHEN goes_on THEN w.began_at ELSE t.now END,
            CASE WHEN goes_on THEN w.taken ELSE 0 END + excluded.taken
        FROM (SELECT clock_timestamp()) t(now), LATERAL (
            SELECT w.began_at <= t.now AND t.now < w.began_at + CAST(:span AS interval)
        ) s(goes_on))
    RETURNING taken, extract(epoch FROM began_at + CAST(:span AS interval) - clock_timestamp())
        AS seconds
    """
    )
)
# In the order of names: each window is read once, and none needs an index by time.
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
"""Windows checked in one transaction."""


class Lease(NamedTuple):
    """Requests that a process may accept before it takes another lease."""

    granted: int
    """0: the caller has used up its rate."""
    rest: int
    """Requests that the caller has left besides, in all processes."""
    seconds: float
    """Time until the window, and with it the lease, ends."""


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
    """Delete the windows of a page that began more than `age` ago; return how many, and the name
    after which the next page begins (None: there are no more).
    """
    row = await _PURGE.one(connection, age=age, after=after, page=PURGE_PAGE)
    return row["many"], row["last"]
