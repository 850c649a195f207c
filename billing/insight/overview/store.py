"""The overview as one statement that returns JSON: one round trip, a handful of index probes."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.core import keys
from billing.insight.overview.schemas import Overview
from billing.money.payments.schemas import UNTRIED

# Credits that expired but are not booked yet are computed only if there are any. Open matters are
# those with a next due time: their index also finds the pending purchases. Ids are returned as
# stored: encoding them here would cost more than the look-ups.
_OVERVIEW: Final = text(
    f"""
    SELECT jsonb_build_object(
        'now', me.now,
        'account', jsonb_build_object(
            'account_id', me.id, 'external_id', me.external_id,
            'status', me.status, 'zone', me.zone, 'is_test', me.is_test, 'clock_at', me.clock_at),
        'trial', (
            SELECT jsonb_build_object(
                'status', t.status, 'started_at', t.started_at, 'expires_at', t.expires_at,
                'credits_granted', t.credits::text,
                'credits_remaining', coalesce((
                    SELECT CASE WHEN l.expires_at <= me.now
                        THEN coalesce(gone.held_of_trial, l.remaining) ELSE l.remaining END
                    FROM credit_lots l WHERE l.grant_key = :trial_key), 0)::text)
            FROM trials t WHERE t.account_id = me.id AND t.kind = 'account_trial'),
        'subscription', (
            SELECT jsonb_build_object(
                'subscription_id', s.id, 'status', s.status,
                'plan', s.plan_key, 'plan_name', p.name, 'amount_minor', s.amount_minor,
                'currency', s.currency, 'current_period_start', s.current_period_start,
                'current_period_end', s.current_period_end, 'trial_end', s.trial_end,
                'cancel_at_period_end', s.cancel_at_period_end, 'cancel_at', s.cancel_at,
                'next_step', m.next_step, 'next_due_at', m.next_due)
            FROM (SELECT * FROM subscriptions
                  WHERE account_id = me.id
                  ORDER BY ended_at IS NULL DESC, created_at DESC, id DESC LIMIT 1) s
            JOIN plans p ON p.id = s.plan_id
            LEFT JOIN matters m ON m.account_id = me.id AND m.next_due IS NOT NULL
                               AND m.kind = 'subscription' AND m.subject_id = s.id),
        'credits', jsonb_build_object(
            'balance', (me.balance - coalesce(gone.credits, 0))::text,
            'held', coalesce(gone.held, me.held)::text,
            'debt', me.debt::text, 'currency', me.currency),
        'invoices', (
            SELECT jsonb_build_object(
                'open', count(*), 'remaining_minor', coalesce(sum(remaining_minor), 0),
                'newest', coalesce(jsonb_agg(one ORDER BY nth) FILTER (WHERE nth <= 5), '[]'))
            FROM (
                SELECT i.remaining_minor,
                       row_number() OVER (ORDER BY i.created_at DESC, i.id DESC) AS nth,
                       jsonb_build_object(
                           'invoice_id', i.id, 'number', i.number,
                           'remaining_minor', i.remaining_minor, 'currency', i.currency,
                           'due_at', i.due_at) AS one
                FROM (SELECT *, amount_due_minor - amount_paid_minor - amount_credited_minor
                             AS remaining_minor
                      FROM invoices WHERE account_id = me.id AND status = 'open') i) AS open_ones),
        'purchases', (
            SELECT jsonb_build_object(
                'pending', count(*),
                'newest', coalesce(jsonb_agg(one ORDER BY nth) FILTER (WHERE nth <= 5), '[]'))
            FROM (
                SELECT row_number() OVER (ORDER BY p.created_at DESC, p.id DESC) AS nth,
                       jsonb_build_object(
                           'purchase_id', p.id, 'pack', p.pack,
                           'credits', p.credits::text, 'amount_minor', p.amount_minor,
                           'currency', p.currency, 'expires_at', p.expires_at) AS one
                FROM matters m JOIN purchases p ON p.id = m.subject_id
                WHERE m.account_id = me.id AND m.next_due IS NOT NULL AND m.kind = 'purchase'
                  AND p.status = 'pending') AS pending_ones),
        'dunning', (
            SELECT jsonb_build_object(
                'dunning_case_id', d.id, 'status', d.status,
                'invoice_id', d.invoice_id,
                'attempts_made', (
                    SELECT count(*) FROM payment_attempts t
                    WHERE t.invoice_id = d.invoice_id AND t.slot IS NOT NULL
                      AND t.status NOT IN {UNTRIED}),
                'attempts_planned', jsonb_array_length(d.policy -> 'days'),
                'next_step', m.next_step, 'next_due_at', m.next_due,
                'opened_at', d.opened_at, 'open_cases', d.open_cases,
                'all_paused_at', (
                    SELECT x.paused_at FROM dunning_pauses x WHERE x.account_id = me.id))
            FROM (SELECT c.*, i.workflow_id,
                         count(*) FILTER (WHERE c.status <> 'exhausted') OVER () AS open_cases
                  FROM dunning_cases c JOIN invoices i ON i.id = c.invoice_id
                  WHERE c.account_id = me.id
                    AND (c.status IN ('open', 'paused')
                         OR c.status = 'exhausted' AND i.status = 'open')
                  ORDER BY c.status = 'exhausted', c.opened_at, c.id LIMIT 1) d
            LEFT JOIN matters m ON m.workflow_id = d.workflow_id AND d.status = 'open'
                 AND starts_with(m.next_key, public_id('inv', d.invoice_id) || '/'))
    )::text
    FROM (
        SELECT a.id, a.external_id, a.status, a.zone, a.is_test, a.clock_at,
               coalesce(a.clock_at, CAST(:now AS timestamptz)) AS now,
               b.balance, b.held, b.debt, b.currency, b.next_expiry
        FROM accounts a JOIN credit_balances b ON b.account_id = a.id
        WHERE a.id = :account_id) AS me
    LEFT JOIN LATERAL (
        SELECT sum(CASE WHEN l.expires_at <= me.now THEN l.remaining - live.held
                        ELSE least(l.claimed, l.held - live.held) END) AS credits,
               sum(live.held) AS held,
               sum(live.held) FILTER (WHERE l.grant_key = :trial_key) AS held_of_trial
        FROM credit_lots l
        LEFT JOIN (SELECT p.lot_id, sum(p.amount) AS amount
                   FROM credit_holds h JOIN credit_hold_lots p ON p.hold_id = h.id
                   WHERE h.account_id = me.id AND h.status = 'open' AND h.expires_at > me.now
                   GROUP BY p.lot_id) AS part ON part.lot_id = l.id,
        LATERAL (SELECT coalesce(part.amount, 0) AS held) AS live
        WHERE l.account_id = me.id AND l.is_open AND me.next_expiry <= me.now) AS gone ON true
    """  # noqa: S608 - put together from constants
)


async def overview(connection: AsyncConnection, account_id: UUID, now: datetime) -> Overview:
    """Return the account's overview at its own time (`now` is real); zeros if it does not exist."""
    values = {"account_id": account_id, "now": now, "trial_key": keys.trial_grant(account_id)}
    found = await connection.scalar(_OVERVIEW, values)
    return Overview.model_validate_json(found) if found else Overview(now=now)
