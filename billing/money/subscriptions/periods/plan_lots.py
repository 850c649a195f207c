"""Lots of the plan's credits: a part of a query; `a` is the account of the subscription `s`."""

from typing import Final

LOTS: Final = """
    SELECT jsonb_build_object(
        'grant_key', x.grant_key,
        'rolls_over', x.kept_from IS NOT NULL AND x.created_at >= s.cycle_start,
        'unspent', (x.remaining - x.held)::text,
        'kept', (x.amount - x.clawed - x.claimed - x.lost)::text,
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
    FROM credit_lots x
    WHERE x.account_id = s.account_id AND x.kind = 'plan'
      AND x.expires_at > coalesce(a.clock_at, CAST(:real_at AS timestamptz))
      AND coalesce(x.cycle_end > s.cycle_start, true)"""
"""Lots of the current cycle, as `facts.PlanLot`: what rolled over into it is not clawed back. Lots
of a cycle that a change has cut count too: the change granted that much less.
"""
KEEPS: Final = """
    EXISTS (SELECT FROM credit_lots x
            WHERE x.account_id = s.account_id AND x.is_open AND x.kept_from IS NOT NULL)"""
"""True if the account has credits that roll over."""
