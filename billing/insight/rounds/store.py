"""Marks of accounts to check: those that changed and the others in rotation; removed if clean."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.transaction_settings import limit_statements, read_by_index

MARGIN: Final = timedelta(minutes=10)
"""Rows written this long before the last run's marks may have been committed after them."""
AT_LEAST: Final = 100
"""The minimum of accounts marked in rotation, if a slice is smaller."""
SLICES: Final = 7 * 24
"""An hourly run marks one slice of this many, so that every account is checked within a week."""
# Accounts with rows written since then in real time, each found by an index. Other rows change in
# the same transaction as one of these; the rest are checked when the rotation reaches the account.
USAGE: Final = (
    "SELECT account_id FROM billing_records WHERE written_at >= :since",
    "SELECT account_id FROM billing_events WHERE id >= :since_id",
)
EVERYTHING: Final = (
    *USAGE,
    "SELECT account_id FROM credit_transactions WHERE id >= :since_id",
    "SELECT account_id FROM credit_holds WHERE id >= :since_id",
    "SELECT account_id FROM events WHERE id >= :since_id",
    "SELECT account_id FROM steps WHERE real_ran_at >= :since",
    "SELECT account_id FROM payment_attempts WHERE real_started_at >= :since",
    "SELECT account_id FROM billing_audit WHERE real_at >= :since AND account_id IS NOT NULL",
)
TIMEOUT_MS: Final = 300_000
"""Very many accounts may have changed; the usual statement limit is for interactive requests."""
_BEGIN: Final = text("INSERT INTO check_rounds (job) VALUES (:job) ON CONFLICT DO NOTHING")
_PLACE: Final = text(
    "SELECT noted_until - CAST(:margin AS interval) AS since, noted_account FROM check_rounds"
    " WHERE job = :job FOR UPDATE"
)
_NOTE: Final = """
    INSERT INTO accounts_to_check (account_id, job, noted_at)
    SELECT DISTINCT account_id, :job, now() FROM ({moved}) AS moved
    ON CONFLICT (account_id, job) DO UPDATE SET noted_at = excluded.noted_at
"""
# The table statistics are exact enough for the number of accounts.
_SLICE: Final = text(
    """
    WITH wanted AS (
        SELECT greatest(:least, ceil(reltuples / :slices))::bigint AS size
        FROM pg_class WHERE oid = to_regclass('accounts')
    ), slice AS (
        SELECT id FROM accounts WHERE id > :after ORDER BY id LIMIT (SELECT size FROM wanted)
    ), noted AS (
        INSERT INTO accounts_to_check (account_id, job, noted_at)
        SELECT id, :job, now() FROM slice
        ON CONFLICT (account_id, job) DO UPDATE SET noted_at = excluded.noted_at
    )
    SELECT (SELECT array_agg(id ORDER BY id DESC) FROM slice)[1] AS last,
        (SELECT count(*) FROM slice) < (SELECT size FROM wanted) AS is_end
    """
)
_MOVE_ON: Final = text(
    """
    UPDATE check_rounds SET noted_until = now(), noted_account = :noted_account,
        ended_at = CASE WHEN :is_end THEN now() ELSE ended_at END
    WHERE job = :job
    """
)
_PAGE: Final = text(
    "SELECT account_id FROM accounts_to_check WHERE job = :job AND account_id > :after"
    " ORDER BY account_id LIMIT :limit"
)
# An account that changed again meanwhile stays marked.
_TAKE_OFF: Final = text(
    "DELETE FROM accounts_to_check"
    " WHERE job = :job AND account_id = ANY(:accounts) AND noted_at <= :noted_before"
)
_KEEP: Final = text(
    "UPDATE accounts_to_check SET broken = CAST(:broken AS jsonb)"
    " WHERE job = :job AND account_id = :account_id"
)
_BROKEN: Final = text(
    """
    SELECT account_id, b.name, b.violations, b.examples
    FROM accounts_to_check AS t
    CROSS JOIN jsonb_to_recordset(t.broken) AS b(name text, violations bigint, examples jsonb)
    WHERE t.job = :job AND t.broken <> '[]' ORDER BY account_id LIMIT :most
    """
)
MOST: Final = 10_000
"""Maximum of reported findings: more would tell nothing new."""


async def note(
    connection: AsyncConnection, job: str, sources: Sequence[str], at_least: int
) -> tuple[UUID, UUID]:
    """Mark accounts that changed since the last run, and the next `at_least` or more in rotation.

    The first run counts only the changes of the last minutes. Return the range of the rotation:
    after the first id, up to the second.
    """
    await limit_statements(connection, TIMEOUT_MS)
    # No statistics tell how few of the uses of before an upgrade an index would read.
    await read_by_index(connection)
    await connection.execute(_BEGIN, {"job": job})
    values: dict[str, Any] = {"job": job, "margin": MARGIN}
    place = (await connection.execute(_PLACE, values)).one()
    moved = text(_NOTE.format(moved=" UNION ALL ".join(sources)))
    since = {"since": place.since, "since_id": ids.first_of(place.since)}
    await connection.execute(moved, {"job": job} | since)
    values = {"job": job, "after": place.noted_account, "least": at_least, "slices": SLICES}
    found = (await connection.execute(_SLICE, values)).one()
    reached = UUID(int=0) if found.is_end else found.last
    values = {"job": job, "noted_account": reached, "is_end": found.is_end}
    await connection.execute(_MOVE_ON, values)
    return place.noted_account, found.last or place.noted_account


async def page(connection: AsyncConnection, job: str, after: UUID, limit: int) -> list[UUID]:
    """Return the next accounts to check, by id."""
    values = {"job": job, "after": after, "limit": limit}
    return list(await connection.scalars(_PAGE, values))


async def record(
    connection: AsyncConnection,
    job: str,
    accounts: Iterable[UUID],
    noted_before: datetime,
    broken: Mapping[UUID, Sequence[Mapping[str, Any]]],
) -> None:
    """Remove the marks of clean accounts set before the check; store the others' findings."""
    values: dict[str, Any] = {
        "job": job,
        "accounts": [one for one in accounts if one not in broken],
        "noted_before": noted_before,
    }
    await connection.execute(_TAKE_OFF, values)
    for account_id, found in broken.items():
        values = {"job": job, "account_id": account_id, "broken": json.dumps(found)}
        await connection.execute(_KEEP, values)


async def broken(connection: AsyncConnection, job: str) -> list[dict[str, Any]]:
    """Return the findings of the last checks, by account."""
    rows = await connection.execute(_BROKEN, {"job": job, "most": MOST})
    return [dict(row) for row in rows.mappings()]
