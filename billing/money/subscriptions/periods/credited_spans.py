"""Spans of time that were credited, or will not be billed, with their allowance: no use may be
dated into them.

A credit leaves the time used so far; a use that is dated into it afterwards would be free
(docs/rules/usage.md).
"""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core.prepared import Prepared
from billing.money.invoices.schemas import CHARGED
from billing.money.subscriptions.periods import period_paid, proration

# A subscription whose end credited unused or unserved time: all of its time.
_ENDED: Final = f"""
    SELECT least(s.created_at, s.current_period_start) AS since, s.ended_at AS until
    FROM subscriptions s
    WHERE s.account_id = :account_id AND s.ended_at > :at AND EXISTS (
        SELECT FROM credit_notes n JOIN invoices x ON x.id = n.invoice_id
        WHERE x.subscription_id = s.id AND n.created_at >= s.ended_at
          AND n.reason IN ('{proration.NOT_USED}', '{proration.NOT_SERVED}'))
"""  # noqa: S608 - put together from constants
# The cycle that a pause has cut: what was owed for its rest was credited.
_PAUSED: Final = f"""
    SELECT u.start_at, n.created_at
    FROM credit_notes n JOIN invoices x ON x.id = n.invoice_id
    CROSS JOIN LATERAL (
        SELECT max(start_at) AS start_at FROM usage_periods
        WHERE account_id = n.account_id AND subscription_id = x.subscription_id
          AND start_at < n.created_at) u
    WHERE n.account_id = :account_id AND n.created_at > :at
      AND n.reason = '{proration.NOT_SERVED}' AND u.start_at IS NOT NULL
"""  # noqa: S608 - put together from constants
# While `unpaid`, the cycle in which service stopped, once that is over: an end credits what is owed
# for its rest, and what was used of it cannot be read any more.
_UNPAID: Final = """
    SELECT u.start_at, s.unserved_since
    FROM subscriptions s CROSS JOIN LATERAL (
        SELECT max(start_at) AS start_at FROM usage_periods
        WHERE account_id = s.account_id AND subscription_id = s.id
          AND start_at < s.unserved_since) u
    WHERE s.account_id = :account_id AND s.unserved_since > :at
      AND (s.status = 'unpaid' OR s.ended_at IS NOT NULL) AND u.start_at < s.cycle_start
"""
# A change written by the previous release says only that a new period began with it.
_CHANGED: Final = """
    SELECT coalesce((c.terms ->> 'cycle_start')::timestamptz, s.created_at),
           coalesce((c.terms ->> 'gave_back_at')::timestamptz, c.decided_at)
    FROM subscription_changes c JOIN subscriptions s ON s.id = c.subscription_id
    WHERE c.account_id = :account_id AND c.kind = 'plan' AND c.status = 'applied'
      AND c.invoice_id IS NOT NULL AND c.decided_at > :at
      AND (c.terms ->> 'gave_back_at' IS NOT NULL
           OR NOT c.terms ? 'gave_back_at' AND (c.terms ->> 'resets')::boolean)
"""
# Cycles of which the money paid for the plan and its add-ons, up to the cycle's end, went back.
_REFUNDED: Final = f"""
    SELECT u.start_at, u.end_at
    FROM usage_periods u
    CROSS JOIN LATERAL (
        SELECT max(i.period_start) AS start_at FROM invoices i
        WHERE i.subscription_id = u.subscription_id AND i.status IN {CHARGED}
          AND i.cycle_start IS NOT NULL AND i.period_start <= u.start_at) p
    CROSS JOIN LATERAL (
        SELECT {period_paid.PERIOD_IS_LOST} AS is_lost
        {period_paid.paid_invoices("u.subscription_id", "p.start_at", "u.end_at")}) paid
    WHERE u.account_id = :account_id AND u.end_at > :at AND u.subscription_id IS NOT NULL
      AND paid.is_lost
"""  # noqa: S608 - put together from constants
_SPANS: Final = Prepared(text(" UNION ALL ".join((_ENDED, _PAUSED, _UNPAID, _CHANGED, _REFUNDED))))


class Span(NamedTuple):
    """A half-open span of time."""

    since: datetime
    until: datetime


async def spans_after(
    connection: AsyncConnection, account_id: UUID, at: datetime
) -> tuple[Span, ...]:
    """Return the spans that were credited, or may be, and end after `at`."""
    rows = await _SPANS.all(connection, account_id=account_id, at=at)
    return tuple(Span(row["since"], row["until"]) for row in rows)
