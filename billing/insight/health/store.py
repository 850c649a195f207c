"""One look at everything that waits."""

from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database_room import role_limits, room, taken
from billing.core.prepared import Prepared
from billing.insight.health.schemas import Backlog, Charges, Figures
from billing.insight.integrity import runs
from billing.platform.jobs import store as jobs
from billing.platform.parking import store as parkings
from billing.platform.processes import store as processes

MOST: Final = 10_000
"""Rows of one backlog that are counted: more is no more news."""
EXAMPLES: Final = 5
_WAITING: Final = {
    # Each selects a label, the moment since which a row waits, and its words.
    "halted": "SELECT '', woken_at, workflow_id || ': ' || words FROM matters"
    " WHERE status = 'halted'",
    # One that is to look at once is due since before it was there: it waits since its last step.
    "overdue": "SELECT '', CASE WHEN m.next_due >= m.created_at THEN m.next_due ELSE coalesce("
    "(SELECT max(real_ran_at) FROM steps s WHERE s.workflow_id = m.workflow_id), m.created_at) END,"
    " workflow_id FROM matters m"
    " JOIN accounts a ON a.id = m.account_id AND a.clock_at IS NULL"
    " WHERE m.closed_at IS NULL AND m.status = 'open' AND m.next_due < clock_timestamp()",
    "untold": "SELECT '', woken_at, workflow_id FROM matters"
    " WHERE started_at IS NULL AND closed_at IS NULL AND status = 'open'",
    "events": "SELECT type, received_at, stripe_event_id FROM stripe_webhook_events"
    " WHERE status = 'received'",
    "unmatched": "SELECT '', received_at, stripe_event_id FROM stripe_webhook_events"
    " WHERE status = 'unmatched'",
    "parked": "SELECT '', received_at, stripe_event_id || ' (' || type || ')'"
    " FROM stripe_webhook_events WHERE status = 'parked'",
    "outbox": "SELECT '', created_at, type FROM events WHERE published_at IS NULL",
    "undecided": "SELECT '', real_started_at, key FROM payment_attempts WHERE status = 'pending'",
    "approvals": "SELECT '', created_at, public_id('pay', id) FROM payments"
    " WHERE status = 'pending_approval'",
    "dunning": "SELECT '', opened_at, public_id('dun', id) FROM dunning_cases"
    " WHERE status = 'open'",
    "dunning_paused": "SELECT '', opened_at, public_id('dun', id) FROM dunning_cases"
    " WHERE status = 'paused'",
    # Uses that come in a month without a partition would be refused.
    "months": "SELECT '', clock_timestamp(), to_char(m, 'YYYY-MM') FROM generate_series("
    "  date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC'),"
    "  clock_timestamp() AT TIME ZONE 'UTC' + interval '2 months', interval '1 month') AS m"
    " WHERE NOT EXISTS (SELECT FROM usage_months WHERE month = m::date)"
    "  OR usage_partition_of(m::date) IS NULL",
    "unpaid_uses": "SELECT '', overdue_at - interval '7 days', public_id('bill', record_id)"
    " FROM unpaid_uses",
}
_BACKLOGS: Final = Prepared(
    text(
        " UNION ALL ".join(
            f"SELECT '{name}' AS name, label, count(*) AS count, min(since) AS since,"  # noqa: S608
            f" (array_agg(words ORDER BY since))[1:{EXAMPLES}] AS examples"
            f" FROM ({rows} ORDER BY 2 LIMIT {MOST}) w(label, since, words) GROUP BY label"
            for name, rows in _WAITING.items()
        )
    )
)
NAMES: Final = tuple(_WAITING)
_CHARGES: Final = Prepared(
    text(
        """
    SELECT status AS outcome, coalesce(decline_class, '') AS decline_class, count(*) AS count
    FROM payment_attempts WHERE real_started_at > clock_timestamp() - interval '1 hour'
    GROUP BY 1, 2
    """
    )
)


LATE_SECONDS: Final = (1, 5, 15, 60, 120, 300, 900, 3_600, 86_400)
"""Bounds of the histogram of lateness."""
# A worker that is dead does no step; so those that are due count too, as late as they are by now.
_LATENESS: Final = Prepared(
    text(
        f"""
    WITH done AS (
        SELECT account_id, real_ran_at - due_at AS late FROM steps
        WHERE real_ran_at > clock_timestamp() - interval '10 minutes' AND event_id IS NULL
        ORDER BY real_ran_at DESC LIMIT {MOST}
    ), due AS (
        SELECT account_id, clock_timestamp() - next_due AS late FROM matters
        WHERE closed_at IS NULL AND status = 'open' AND next_due < clock_timestamp()
        ORDER BY next_due LIMIT {MOST}
    )
    SELECT width_bucket(extract(epoch FROM late), CAST(:bounds AS numeric[])) AS bucket,
        count(*) AS count
    FROM (TABLE done UNION ALL TABLE due) s
    JOIN accounts a ON a.id = s.account_id AND a.clock_at IS NULL
    GROUP BY 1
    """  # noqa: S608 - a number of ours
    )
)


_TAKES_WRITES: Final = text("SELECT current_setting('transaction_read_only') = 'off'")


async def migration(connection: AsyncConnection) -> str | None:
    """The schema's release, if it has any. Errors: SQLAlchemyError where Postgres is away."""
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


async def _late(connection: AsyncConnection) -> tuple[int, ...]:
    found = {
        row["bucket"]: row["count"]
        for row in await _LATENESS.all(connection, bounds=list(LATE_SECONDS))
    }
    return tuple(found.get(bucket, 0) for bucket in range(len(LATE_SECONDS) + 1))


async def look(connection: AsyncConnection) -> Figures:
    """All figures, as an operator's connection sees them."""
    now, found = await processes.known(connection)
    waiting = await _BACKLOGS.all(connection)
    return Figures(
        at=now,
        backlogs=tuple(
            Backlog.model_validate({**row, "oldest": max(now - row["since"], timedelta())})
            for row in waiting
        ),
        charges=tuple(Charges.model_validate(row) for row in await _CHARGES.all(connection)),
        processes=tuple(found),
        late=await _late(connection),
        books=await runs.latest(connection),
        connections=await room(connection),
        taken=await taken(connection),
        role_limits=await role_limits(connection),
        looked=await jobs.looked_until(connection),
        parking=await parkings.current(connection),
        takes_writes=await connection.scalar(_TAKES_WRITES),
    )
