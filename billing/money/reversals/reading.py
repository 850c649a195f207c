"""Reads the rows of a reversal in one round trip.

Other matters collect the payment's invoice and decide under the account's lock. That lock comes
before the payment's, after rows that their own matter takes first
(docs/architecture.md#order-of-locks).
"""

from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import ids
from billing.core.clock import real_now
from billing.core.errors import NotFound
from billing.core.keys import NOT_KEPT
from billing.core.prepared import Prepared, last_of
from billing.ledger.credits import service as credits
from billing.ledger.credits import verbs
from billing.matters.effects import Rows
from billing.matters.kinds import REVERSAL
from billing.metering.usage import store as usage_store
from billing.money.disputes import cards
from billing.money.invoices.schemas import CreditNote
from billing.money.invoices.verbs import NUMBERING
from billing.money.payments import reading
from billing.money.purchases.schemas import Purchase
from billing.money.refunds.reading import REVERSALS, TYPES
from billing.money.reversals import booking
from billing.money.reversals.disputing import BAR, BOUND, FREE, STOP
from billing.money.reversals.facts import ReversalFacts
from billing.money.reversals.transitions import RULES
from billing.money.taxation.reading import TAXATION, shown
from billing.money.top_ups import service as top_ups
from billing.platform.decisions.service import Engine, Read, now_facts

_LOCK_PURCHASE = Prepared(
    text(
        """
    SELECT u.id FROM purchases u JOIN invoices i ON i.purchase_id = u.id
    JOIN payments p ON p.invoice_id = i.id WHERE p.id = :subject_id FOR NO KEY UPDATE OF u
    """
    )
)
_LOCK_PURSUED = Prepared(
    text(
        """
    SELECT i.id FROM invoices i JOIN payments p ON p.invoice_id = i.id
    WHERE p.id = :subject_id AND i.workflow_id LIKE 'collection/%' FOR NO KEY UPDATE OF i
    """
    )
)
_LOCK_ACCOUNT = reading.lock_account("payments")
_LOCK = reading.lock("payments")
# The payment's invoice, a second one of its purchase, and those that credit a part of it, or of
# one of those.
_INVOICES = """
    SELECT i.* FROM invoices i
    WHERE i.account_id = (SELECT account_id FROM payments WHERE id = :subject_id)
      AND i.id = ANY (ARRAY(
        SELECT p.invoice_id FROM payments p WHERE p.id = :subject_id
        UNION SELECT u.invoice_id FROM payments p JOIN invoices o ON o.id = p.invoice_id
              JOIN purchases u ON u.id = o.purchase_id WHERE p.id = :subject_id
        UNION (
            WITH RECURSIVE later(id) AS (
                SELECT p.invoice_id FROM payments p WHERE p.id = :subject_id
                UNION
                SELECT l.invoice_id FROM later JOIN invoices o ON o.id = later.id
                JOIN invoices c ON c.subscription_id = o.subscription_id
                     AND c.created_at >= o.created_at
                JOIN invoice_lines l ON l.invoice_id = c.id
                WHERE l.kind = 'proration' AND l.detail ->> 'invoice' = o.id::text)
            SELECT id FROM later)))
"""
# Credits that the invoice has paid for: a pack, the cycles of its period, a change of plan.
_WHOLE = f"regexp_replace(x.grant_key, '{NOT_KEPT}$', '')"


def _cycle_from(start: str) -> str:
    """Return the key of a cycle's credits, by its start, where `i` is an invoice of its
    subscription. Such keys sort by time.
    """
    return (
        "public_id('sub', i.subscription_id) || '/cycle-'"
        f""" || to_char({start} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
    )


# A key is unique and names its purchase or change. The account in addition would have the planner
# read all lots that it ever had.
_GRANTED = f"""
    ARRAY(SELECT jsonb_build_object(
              'grant_key', x.grant_key, 'credits', x.amount::text, 'left', x.rest::text)
          FROM (
              SELECT l.grant_key, l.amount, credit_left_of(l) AS rest
              FROM credit_lots l
              WHERE l.grant_key = ANY (ARRAY(
                  SELECT k.key || kept.suffix
                  FROM (SELECT public_id('pur', i.purchase_id) || '/grant'
                        FROM invoices i WHERE i.id = p.invoice_id AND i.purchase_id IS NOT NULL
                        UNION ALL SELECT public_id('chg', c.id) || '/grant'
                        FROM subscription_changes c WHERE c.invoice_id = p.invoice_id) k (key),
                       (VALUES (''), ('{NOT_KEPT}')) kept (suffix)))
              UNION ALL
              SELECT x.grant_key, x.amount, credit_left_of(x)
              FROM credit_lots x
              WHERE x.account_id = a.id AND x.kind = 'plan' AND EXISTS (
                 SELECT FROM invoices i
                 WHERE i.id = p.invoice_id AND i.cycle_start IS NOT NULL
                   AND ({_WHOLE} = {_cycle_from("i.cycle_start")}
                        -- Of the same longer period the cycle that runs now, and what lives on.
                        OR x.grant_key LIKE public_id('sub', i.subscription_id) || '/cycle-%'
                        AND x.expires_at > coalesce(a.clock_at, CAST(:real_at AS timestamptz))
                        AND {_WHOLE} COLLATE "C" >= {_cycle_from("i.period_start")}
                        AND NOT EXISTS (
                            -- A later period had begun: that of a renewal, a resumption, a change.
                            SELECT FROM invoices n
                            WHERE n.subscription_id = i.subscription_id
                              AND n.cycle_start IS NOT NULL
                              AND (n.period_start, n.id) > (i.period_start, i.id)
                              AND {_WHOLE} COLLATE "C" >= {_cycle_from("n.period_start")}
                              AND NOT EXISTS (
                                  SELECT FROM subscription_changes c
                                  WHERE c.invoice_id = n.id AND c.status <> 'applied'))))) x
          ORDER BY x.grant_key)
"""  # noqa: S608 - put together from constants
_READ = Prepared(
    text(
        f"""
    WITH mine AS MATERIALIZED ({_INVOICES})
    SELECT a.clock_at, a.is_test,
           ARRAY(SELECT to_jsonb(u) || jsonb_build_object('credits', u.credits::text)
                 FROM purchases u JOIN mine m ON m.purchase_id = u.id AND m.id = p.invoice_id)
               AS purchases,
           {_GRANTED} AS granted,
           {reading.COLLECTED},
           {reading.lines()} AS lines,
           {reading.balance_entries()} AS balance_entries,
           {reading.hanging("credit_notes", "x.id")} AS credit_notes,
           {REVERSALS},
           {reading.balance("p.currency")} AS balance_minor,
           {TAXATION} AS taxation,
           {reading.EVENTS_ABOUT_PAYMENTS} AS waiting_events
    FROM payments p JOIN accounts a ON a.id = p.account_id
    WHERE p.id = :subject_id
    """  # noqa: S608 - put together from constants
    )
)


async def read(connection: AsyncConnection, wanted: Read) -> tuple[Rows, ReversalFacts]:
    """Read one reversal; only a decision locks more than the payment. Errors: PAYMENT_NOT_FOUND."""
    named: dict[str, Any] = {"subject_id": wanted.subject_id}
    locks = [(_LOCK, named)] if wanted.locked else []
    if wanted.deciding and wanted.locked:
        locks = [(one, named) for one in (_LOCK_PURCHASE, _LOCK_PURSUED, _LOCK_ACCOUNT, _LOCK)]
    workflow_id = REVERSAL.workflow_id(wanted.subject_id)
    values = named | {"workflow_id": workflow_id, "real_at": real_now()}
    found = await last_of(connection, *locks, (_READ, values))
    if not found:
        raise NotFound("PAYMENT_NOT_FOUND")
    (row,) = found
    rows = reading.rows_of(row, credit_notes=CreditNote, purchases=Purchase, **TYPES)
    facts = ReversalFacts(
        **now_facts(row["clock_at"], real_now()),
        new_id=ids.new,
        answer=wanted.answer,
        database_at=row["database_at"],
        is_test=row["is_test"],
        balance_minor=row["balance_minor"] - reading.booked_here(rows),
        payment_id=wanted.subject_id,
        taxation=shown(row["taxation"]),
        granted=tuple(booking.granted(rows, row["granted"])),
    )
    return rows, facts


ENGINE: Final = Engine(
    rules=RULES,
    read=read,
    asking=frozenset({"check"}),
    verbs={
        **NUMBERING,
        verbs.CLAWBACK: credits.clawback,
        verbs.RETURN_CLAWBACK: credits.return_clawback,
        BOUND: usage_store.follow_again,
        STOP: top_ups.stop,
        BAR: cards.bar,
        FREE: cards.free,
    },
)
