"""The queries behind the health figures."""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.database_room import role_limits, room, taken
from billing.core.database_words import database_words
from billing.core.disk_room import has_room
from billing.core.prepared import Prepared, Row
from billing.core.transaction_settings import limit_statements
from billing.insight.health.schemas import Backlog, Charges, Figures
from billing.insight.integrity import runs
from billing.money.taxation.rules import HOURLY
from billing.platform.jobs import store as jobs
from billing.platform.parking import store as parkings
from billing.platform.processes import store as processes
from billing.platform.provider_inbox.rules import AT_ONCE

_logger = logging.getLogger("billing.health")
MOST: Final = 10_000
"""Maximum of rows counted per backlog: more would tell nothing new."""
EXAMPLES: Final = 5
# Times are compared with statement_timestamp(): no index serves a time that changes meanwhile.
# Test accounts raise no alarm: their clocks, cards and keys are experiments.
_REAL: Final = "WITH real AS NOT MATERIALIZED (SELECT id FROM accounts WHERE NOT is_test)"
# An event without an owner may belong to any account.
_INBOX: Final = (
    ", inbox AS NOT MATERIALIZED (SELECT * FROM stripe_webhook_events e WHERE NOT EXISTS ("
    "SELECT FROM accounts a WHERE a.id = e.account_id AND a.is_test))"
)
_WAITING: Final = {
    # Each query selects a label, the time since which a row waits, and its text.
    "halted": "SELECT '', coalesce(h.real_at, x.woken_at),"
    " x.workflow_id || ': ' || coalesce(h.detail ->> 'reason', x.words)"
    " FROM matters x JOIN real r ON r.id = x.account_id LEFT JOIN LATERAL ("
    "  SELECT a.real_at, a.detail FROM billing_audit a WHERE a.subject = x.workflow_id"
    "  AND a.action = 'matter.halted' ORDER BY a.id DESC LIMIT 1) h ON true"
    " WHERE x.status = 'halted'",
    # A matter that must act at once has a due time before its creation: it has waited since its
    # last step, or since it was woken. A sweep wakes a resting matter before it is due.
    "overdue": "SELECT '', CASE WHEN x.next_due >= x.created_at THEN x.next_due"
    " ELSE greatest(x.woken_at, coalesce((SELECT max(real_ran_at) FROM steps s"
    " WHERE s.workflow_id = x.workflow_id), x.created_at)) END, x.workflow_id"
    " FROM (SELECT * FROM matters WHERE closed_at IS NULL AND status = 'open'"
    "  AND next_due < statement_timestamp() UNION ALL SELECT * FROM matters WHERE closed_at IS NULL"
    "  AND status = 'resting' AND next_due < statement_timestamp()) x"
    " JOIN real r ON r.id = x.account_id",
    "untold": "SELECT '', x.woken_at, x.workflow_id FROM matters x"
    " JOIN real r ON r.id = x.account_id"
    " WHERE x.started_at IS NULL AND x.closed_at IS NULL AND x.status = 'open'",
    "events": "SELECT type, received_at, stripe_event_id FROM inbox WHERE status = 'received'",
    "unmatched": "SELECT '', received_at, stripe_event_id FROM inbox WHERE status = 'unmatched'",
    "parked": "SELECT '', received_at, stripe_event_id || ' (' || type || ')'"
    " FROM inbox WHERE status = 'parked'",
    # Of Stripe's: PayPal's cannot be asked for, but it tells of each capture. As many events of a
    # day without a webhook are an answer: where none comes, all would be read for one.
    "unsent": "SELECT '', received_at, stripe_event_id FROM inbox"  # noqa: S608
    " WHERE source = 'poll' AND deliveries = 1"
    " AND received_at > statement_timestamp() - interval '1 day'"
    " AND received_at > coalesce((SELECT max(received_at) FROM ("
    "  SELECT source, received_at FROM stripe_webhook_events"
    "  WHERE starts_with(stripe_event_id, 'evt_')"
    "  AND received_at > statement_timestamp() - interval '1 day'"
    f"  ORDER BY received_at DESC LIMIT {MOST}) s WHERE source = 'webhook'), '-infinity')",
    # The last ones: a shop where all is well has no hit that would end the search.
    "unsent_paypal": "SELECT '', x.settled_at, public_id('pay', x.id)"
    " FROM (SELECT * FROM payments WHERE flow = 'paypal'"
    "  AND settled_at BETWEEN statement_timestamp() - interval '1 day'"
    "  AND statement_timestamp() - interval '1 hour' ORDER BY settled_at DESC LIMIT 1000) x"
    " JOIN real r ON r.id = x.account_id WHERE NOT EXISTS (SELECT FROM stripe_webhook_events e"
    "  WHERE e.object_id IN (x.stripe_checkout_session_id, x.stripe_payment_intent_id)"
    "  AND starts_with(e.type, 'PAYMENT.CAPTURE.'))",
    "undecided": "SELECT '', x.real_started_at, x.key FROM payment_attempts x"
    " JOIN real r ON r.id = x.account_id WHERE x.status = 'pending'",
    # A charge counts once, by its newest try: one that is made again comes within two hours. That
    # of a canceled payment is none of ours, unless it was canceled because the provider refused it.
    # Nobody can help where it refused the sum. An open invoice counts until a try of it reaches a
    # card, what failed at once only until its account is charged for anything.
    "unreached": "SELECT '', x.real_started_at, x.key || coalesce(': ' || x.message, '')"
    " FROM payment_attempts x JOIN real r ON r.id = x.account_id"
    " JOIN payments p ON p.id = x.payment_id"
    " AND (p.status <> 'canceled' OR x.decline_code = 'charge_refused')"
    " JOIN invoices i ON i.id = x.invoice_id"
    " WHERE x.real_started_at > statement_timestamp() - interval '2 hours'"
    " AND x.status = 'unreached'"
    " AND coalesce(x.decline_code, '') NOT IN ('provider_refused', 'paid_otherwise')"
    " AND NOT EXISTS (SELECT FROM payment_attempts y WHERE y.account_id = x.account_id"
    "  AND (y.invoice_id = x.invoice_id OR i.status <> 'open')"
    "  AND y.started_at >= x.started_at AND y.real_started_at > x.real_started_at"
    "  AND y.status NOT IN ('unreached', 'skipped', 'pending'))"
    " AND NOT EXISTS (SELECT FROM payment_attempts z WHERE z.invoice_id = x.invoice_id"
    "  AND z.status = 'unreached' AND z.real_started_at > x.real_started_at)",
    "approvals": "SELECT '', x.created_at, public_id('pay', x.id)"
    " FROM payments x JOIN real r ON r.id = x.account_id WHERE x.status = 'pending_approval'",
    # Of test accounts too, by real time: a shop that tests asks to go into production.
    "migration_requests": "SELECT '', uuid_extract_timestamp(x.id), public_id('mig', x.id)"
    " FROM migration_requests x WHERE x.handled_at IS NULL",
    # Their payers have saved no card since.
    "customers": "SELECT '', coalesce((SELECT max(x.real_at) FROM billing_audit x"
    " WHERE x.account_id = r.id AND x.action = 'account.customer_gone'), statement_timestamp()),"
    " public_id('acc', r.id) || ' had ' || a.gone_customer_id"
    " FROM real r JOIN accounts a ON a.id = r.id"
    " WHERE a.gone_customer_id IS NOT NULL AND a.stripe_customer_id IS NULL",
    # Invoices with a try are in dunning, and while a bank decides no operator has to.
    "held": "SELECT '', x.finalized_at, public_id('inv', x.id)"
    " FROM invoices x JOIN real r ON r.id = x.account_id"
    " WHERE x.collection = 'held' AND x.status = 'open'"
    " AND NOT EXISTS (SELECT FROM dunning_cases c WHERE c.invoice_id = x.id)"
    " AND NOT EXISTS (SELECT FROM payments p"
    "  WHERE p.invoice_id = x.id AND p.status = 'processing')",
    "dunning": "SELECT '', x.opened_at, public_id('dun', x.id)"
    " FROM dunning_cases x JOIN real r ON r.id = x.account_id WHERE x.status = 'open'",
    "dunning_paused": "SELECT '', x.opened_at, public_id('dun', x.id)"
    " FROM dunning_cases x JOIN real r ON r.id = x.account_id WHERE x.status = 'paused'",
    # Uses in a month without a partition would be refused.
    "months": "SELECT '', statement_timestamp(), to_char(m, 'YYYY-MM') FROM generate_series("
    "  date_trunc('month', statement_timestamp() AT TIME ZONE 'UTC'),"
    "  statement_timestamp() AT TIME ZONE 'UTC' + interval '2 months', interval '1 month') AS m"
    " WHERE NOT EXISTS (SELECT FROM usage_months WHERE month = m::date)"
    "  OR usage_partition_of(m::date) IS NULL",
    # Of the latest run whose window nobody chose, above the threshold; or that it has failed.
    "discrepancies": "SELECT '', x.finished_at, w.words"
    " FROM (SELECT * FROM reconciliations WHERE is_whole AND finished_at IS NOT NULL"
    "  ORDER BY started_at DESC LIMIT 1) x, LATERAL ("
    "  SELECT (d ->> 'kind') || ' ' || (d ->> 'stripe_id')"
    "   FROM jsonb_array_elements(x.discrepancies) d WHERE x.is_alarming"
    "  UNION ALL SELECT public_id('rec', x.id) || ' failed: ' || x.error"
    "   WHERE x.error IS NOT NULL) w(words)",
    # Stripe may refuse single addresses: only where it has answered about none lately.
    "unanswered_taxes": "SELECT '', coalesce(q.quoted_at, q.ask_at),"  # noqa: S608
    " public_id('acc', q.account_id) || ': rates'"
    " FROM tax_quotes q JOIN real r ON r.id = q.account_id"
    f" WHERE q.tries > 0 AND q.tries >= {HOURLY}"
    " AND NOT EXISTS (SELECT FROM tax_quotes a JOIN real r ON r.id = a.account_id"
    "  WHERE a.quoted_at > statement_timestamp() - interval '2 days')"
    " UNION ALL SELECT '', p.vat_given_at, public_id('acc', p.account_id) || ': VAT id'"
    " FROM tax_profiles p JOIN real r ON r.id = p.account_id"
    f" WHERE p.vat_status = 'pending' AND p.vat_tries >= {HOURLY}"
    " AND p.vat_check_at IS NOT NULL AND p.exempt_because IS NULL",
    # Read in the order of the index and only up to MOST: there may be very many.
    "unpaid_uses": "SELECT '', overdue_at - usage_overdue_after(),"  # noqa: S608
    " public_id('bill', record_id) FROM (SELECT x.overdue_at, x.record_id"
    " FROM unpaid_uses x JOIN real r ON r.id = x.account_id"
    f" ORDER BY x.overdue_at LIMIT {MOST}) u",
}


def backlog(name: str) -> str:
    """Return the query that counts one backlog."""
    return (
        f"{_REAL}{_INBOX} SELECT '{name}' AS name, label, count(*) AS count,"  # noqa: S608
        f" min(since) AS since, (array_agg(words ORDER BY since))[1:{EXAMPLES}] AS examples"
        f" FROM ({_WAITING[name]} ORDER BY 2 LIMIT {MOST}) w(label, since, words) GROUP BY label"
    )


_BACKLOGS: Final = {name: Prepared(text(backlog(name))) for name in _WAITING}
NAMES: Final = tuple(_WAITING)
# A payer who types a test card does not mean a fault of our account at the provider.
CHARGES: Final = f"""
    {_REAL} SELECT x.status AS outcome, count(*) AS count,
        CASE WHEN x.decline_class = 'config' AND x.payment_method_id IS NULL THEN 'hard'
             ELSE coalesce(x.decline_class, '') END AS decline_class
    FROM payment_attempts x JOIN real r ON r.id = x.account_id
    WHERE x.real_started_at > statement_timestamp() - interval '1 hour'
    GROUP BY 1, 3
    """  # noqa: S608 - constants


LATE_SECONDS: Final = (1, 5, 15, 60, 120, 300, 900, 3_600, 86_400)
"""Bounds of the histogram of lateness."""
# A dead worker does no steps; so due steps count too, with their lateness so far.
LATENESS: Final = f"""
    {_REAL}, done AS (
        SELECT account_id, real_ran_at - due_at AS late FROM steps
        WHERE real_ran_at > statement_timestamp() - interval '10 minutes' AND event_id IS NULL
            AND due_at > CAST('{AT_ONCE}' AS timestamptz)
        ORDER BY real_ran_at DESC LIMIT {MOST}
    ), due AS (
        SELECT account_id, statement_timestamp() - next_due AS late FROM matters
        WHERE closed_at IS NULL AND status = 'open' AND next_due < statement_timestamp()
            AND next_due > CAST('{AT_ONCE}' AS timestamptz)
        ORDER BY next_due LIMIT {MOST}
    )
    SELECT width_bucket(extract(epoch FROM late), CAST(:bounds AS numeric[])) AS bucket,
        count(*) AS count
    FROM (TABLE done UNION ALL TABLE due) x JOIN real r ON r.id = x.account_id
    GROUP BY 1
    """  # noqa: S608 - constants
_CHARGES, _LATENESS = Prepared(text(CHARGES)), Prepared(text(LATENESS))


# A slower count would be outdated, and would delay the others.
_LIMIT_MS: Final = 2_000
_TAKES_WRITES: Final = text("SELECT current_setting('transaction_read_only') = 'off'")


async def migration(connection: AsyncConnection) -> str | None:
    """Return the schema's migration, if any. Errors: SQLAlchemyError if Postgres is unavailable."""
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


async def _lateness(connection: AsyncConnection) -> list[Row]:
    found = {
        row["bucket"]: row["count"]
        for row in await _LATENESS.all(connection, bounds=list(LATE_SECONDS))
    }
    return [{"count": found.get(bucket, 0)} for bucket in range(len(LATE_SECONDS) + 1)]


async def look(connection: AsyncConnection) -> Figures:
    """Return all figures from an operator's connection; omit counts that take too long."""
    now, found = await processes.known(connection)
    counting = _Counting(connection)
    waiting = [row for name in NAMES for row in await counting.rows(name, _BACKLOGS[name].all)]
    charges = await counting.rows("charges", _CHARGES.all)
    late = await counting.rows("late", _lateness)
    return Figures(
        at=now,
        backlogs=tuple(
            Backlog.model_validate({**row, "oldest": max(now - row["since"], timedelta())})
            for row in waiting
        ),
        charges=tuple(Charges.model_validate(row) for row in charges),
        processes=tuple(found),
        late=tuple(row["count"] for row in late),
        uncounted=tuple(counting.failed),
        books=await runs.latest(connection),
        connections=await room(connection),
        taken=await taken(connection),
        role_limits=await role_limits(connection),
        looked=await jobs.looked_until(connection),
        parking=await parkings.current(connection),
        takes_writes=await connection.scalar(_TAKES_WRITES),
        has_room=await has_room(connection),
    )


class _Counting:
    """A sequence of counts; `failed` names those that could not be made."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.failed: list[str] = []

    async def rows(
        self, name: str, ask: Callable[[AsyncConnection], Awaitable[list[Row]]]
    ) -> list[Row]:
        """Return the rows; empty if the query fails, after which the transaction continues."""
        try:
            async with self.connection.begin_nested():
                await limit_statements(self.connection, _LIMIT_MS)
                return await ask(self.connection)
        except DBAPIError as error:
            _logger.warning("%s could not be counted: %s", name, database_words(error))
            self.failed.append(name)
            return []
