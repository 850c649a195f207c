"""Sessions that block others, read only from Postgres's own views, not from our tables."""

from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.insight.locks.rules import RESTED
from billing.insight.locks.schemas import Blocker

# Every role may read the locks; the state of other roles' sessions needs pg_read_all_stats.
_BLOCKERS: Final = text(
    """
    WITH waiting AS MATERIALIZED (
        SELECT l.pid, clock_timestamp() - l.waitstart AS waits, l.relation::regclass::text AS place
        FROM pg_locks AS l
        JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.datname = current_database()
        WHERE NOT l.granted
    ), blocking AS (
        SELECT b.pid, count(DISTINCT w.pid) AS waiting, max(w.waits) AS longest,
            min(w.place) AS place
        FROM waiting AS w CROSS JOIN unnest(pg_blocking_pids(w.pid)) AS b(pid)
        -- Of a queue the first is told.
        WHERE b.pid NOT IN (SELECT pid FROM waiting)
        GROUP BY b.pid
    ), locking AS (
        SELECT l.pid, min(m.rank) AS rank,
            (array_agg(l.relation::regclass::text ORDER BY m.rank, l.relation))[1] AS place
        FROM pg_locks AS l
        JOIN pg_database AS d ON d.oid = l.database AND d.datname = current_database()
        JOIN pg_class AS k ON k.oid = l.relation AND k.relkind IN ('r', 'p')
        JOIN pg_stat_activity AS a ON a.pid = l.pid
        CROSS JOIN LATERAL (SELECT CASE
            WHEN l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                'AccessExclusiveLock') THEN 1
            WHEN l.mode = 'AccessShareLock' THEN 3 ELSE 2 END) AS m(rank)
        WHERE l.granted AND l.locktype = 'relation'
            AND (m.rank = 1 OR a.state LIKE 'idle in transaction%'
                AND clock_timestamp() - a.state_change > :rested)
        GROUP BY l.pid
    )
    SELECT pid, a.usename::text AS role, nullif(a.application_name, '') AS program,
        host(a.client_addr) AS client, a.state, clock_timestamp() - a.state_change AS resting,
        coalesce(b.waiting, 0) AS waiting, b.longest, coalesce(b.place, l.place) AS place,
        (ARRAY['table', 'rows', 'reads'])[l.rank] AS holds
    FROM blocking AS b FULL JOIN locking AS l USING (pid)
    LEFT JOIN pg_stat_activity AS a USING (pid)
    ORDER BY waiting DESC, pid
    """
)
# Whoever waits for such a lock keeps the readers that come later waiting, too.
_BARS_READERS: Final = text(
    """
    SELECT EXISTS (SELECT FROM pg_locks AS l
        JOIN pg_database AS d ON d.oid = l.database AND d.datname = current_database()
        JOIN pg_class AS k ON k.oid = l.relation
            AND k.relnamespace = current_schema()::regnamespace
        WHERE l.mode = 'AccessExclusiveLock')
    """
)
_SEES_ALL: Final = text("SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')")


async def blockers(connection: AsyncConnection, rested: timedelta = RESTED) -> list[Blocker]:
    """Return sessions that others wait for, that keep a table locked, also between two waiters, or
    that have been idle in a transaction for longer than `rested`.
    """
    found = await connection.execute(_BLOCKERS, {"rested": rested})
    return [Blocker.model_validate(row) for row in found.mappings()]


async def bars_readers(connection: AsyncConnection) -> bool:
    """Return True if a session has locked one of our tables even for readers, or is about to."""
    return bool(await connection.scalar(_BARS_READERS))


async def sees_all(connection: AsyncConnection) -> bool:
    """Return True if the state of every session is visible."""
    return bool(await connection.scalar(_SEES_ALL))
