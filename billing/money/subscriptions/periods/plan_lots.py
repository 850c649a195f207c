"""Lots of the plan's credits: a part of a query; `a` is the account of the subscription `s`."""

from typing import Final

from billing.core import keys
from billing.matters.agenda import EARLY

# A resumption for nothing brings no credits for the time of the cycle that was paused.
_BEGAN: Final = """
        WITH RECURSIVE began(at, cut_at) AS (
            SELECT s.cycle_start, CAST(NULL AS timestamptz)
            UNION
            SELECT coalesce((c.terms ->> 'cycle_start')::timestamptz, s.created_at),
                   CASE c.kind WHEN 'plan' THEN c.decided_at END
            FROM began b
            JOIN invoices i ON i.subscription_id = s.id AND i.cycle_start = b.at
            JOIN subscription_changes c ON c.invoice_id = i.id
            WHERE c.status = 'applied' AND (c.kind = 'plan' OR NOT EXISTS (
                SELECT FROM invoice_lines l
                WHERE l.invoice_id = i.id AND l.kind = 'plan'
                  AND l.amount_minor > l.discount_minor)))
        SELECT min(at) AS since, max(cut_at) AS cut_at FROM began"""
"""The instant `since` which granted credits count: the start of the current cycle, or of the first
in a row of cycles that changes of plan and resumptions for nothing have cut; and the instant at
which the last of these changes was applied.
"""
LOTS: Final = f"""
    SELECT jsonb_build_object(
        'grant_key', x.grant_key,
        'granted', x.amount::text,
        'is_cut', coalesce(x.created_at < began.cut_at, false),
        'rolls_over', x.kept_from IS NOT NULL AND x.created_at >= s.cycle_start - {EARLY},
        'unspent', (x.remaining - x.held)::text,
        'kept', credit_left_of(x)::text,
        'refunded', (
            SELECT coalesce(sum((taken ->> 'amount')::numeric), 0)::text
            FROM (SELECT credits FROM refunds WHERE account_id = s.account_id
                  UNION ALL
                  -- Those of a dispute that was won came back, unless its loss was booked before.
                  SELECT credits FROM disputes
                  WHERE account_id = s.account_id
                    AND (state IN ('open', 'lost') OR booked_at IS NOT NULL)) AS gone
            CROSS JOIN LATERAL jsonb_array_elements(gone.credits) AS taken
            WHERE taken ->> 'grant_key' = x.grant_key),
        'made_up', (
            SELECT coalesce(sum((c.terms -> 'credits_refunded' ->> x.grant_key)::numeric), 0)::text
            FROM subscription_changes c
            WHERE c.subscription_id = s.id AND c.status = 'applied'))
    FROM ({_BEGAN}) AS began JOIN credit_lots x ON x.account_id = s.account_id
    WHERE x.kind = 'plan' AND x.expires_at > coalesce(a.clock_at, CAST(:real_at AS timestamptz))
      AND coalesce(x.cycle_end > s.cycle_start, true)
      AND CASE
          -- A free plan grants its credits once a month, to whichever subscription came first.
          WHEN starts_with(x.grant_key, public_id('acc', s.account_id) || '/')
              THEN s.amount_minor = 0 OR began.cut_at IS NOT NULL
          ELSE x.created_at >= began.since - {EARLY} AND EXISTS (
              SELECT FROM credit_transactions t
              WHERE t.key = x.grant_key AND t.account_id = x.account_id
                AND t.subject = public_id('sub', s.id)) END"""  # noqa: S608 - constants
"""Lots of the current cycle, as `facts.PlanLot`: what rolled over into it is not clawed back, nor
what another subscription has paid for, or a period before a resumption. Lots of a cycle that a
change has cut count too: the change granted that much less.
"""
_A_YEAR_AGO: Final = "coalesce(a.clock_at, CAST(:real_at AS timestamptz)) - interval '1 year'"
FREE_GRANTS: Final = f"""
    SELECT jsonb_build_object(
        'grant_key', x.grant_key, 'amount', (x.amount - x.clawed)::text, 'at', x.at)
    FROM (
        SELECT l.grant_key, l.amount, l.clawed, l.created_at AS at
        FROM credit_lots l
        WHERE l.account_id = s.account_id AND l.kind = 'plan' AND l.created_at > {_A_YEAR_AGO}
          AND starts_with(l.grant_key, public_id('acc', s.account_id) || '/')
        UNION ALL
        SELECT l.grant_key, l.amount, l.clawed, coalesce(
            CASE WHEN NOT (c.terms ->> 'resets')::boolean
                 THEN (c.terms ->> 'cycle_start')::timestamptz END, l.created_at)
        FROM subscription_changes c
        JOIN credit_lots l ON l.account_id = c.account_id AND l.grant_key IN (
            public_id('chg', c.id) || '/grant', public_id('chg', c.id) || '/grant{keys.NOT_KEPT}')
        WHERE c.account_id = s.account_id AND c.kind = 'plan' AND c.status = 'applied'
          AND c.decided_at > {_A_YEAR_AGO} AND (c.terms ->> 'unit_minor')::bigint = 0) x
    WHERE :deciding
"""  # noqa: S608 - put together from constants
"""Credits that plans without a price granted, by their cycles or by a change, as
`free_grants.FreeGrant`.
"""
KEEPS: Final = """
    EXISTS (SELECT FROM credit_lots x
            WHERE x.account_id = s.account_id AND x.kind = 'plan' AND x.kept_from IS NOT NULL
              AND x.expires_at > coalesce(a.clock_at, CAST(:real_at AS timestamptz)))"""
"""True if the account has credits that roll over, or would if they came back."""
