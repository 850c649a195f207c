-- The part of a whole cycle that a subscription's cycle from `p_start` is: one, but for a short
-- one. The same rule as periods/shares.py of money/subscriptions; a test holds this one to it. The
-- first cycle of a trial is a whole one. A billing day cuts the last cycle before it, and no other.
-- Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_cycle_part(p_subscription_id uuid, p_start timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN c.in_trial AND p_start = s.current_period_start THEN 1
        ELSE least(1, extract(epoch FROM c.until - p_start)
            / usage_cycle_seconds(
                CASE WHEN NOT c.in_trial AND c.until IN (
                    SELECT usage_boundaries(s.anchor_wall, s.zone, s.interval_unit,
                        s.interval_count, c.until, NULL))
                    THEN s.anchor_wall ELSE usage_cycle_anchor(s.id, p_start) END,
                s.zone, p.allowance_unit, p.allowance_count, p_start, c.until)) END
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (
        SELECT s.status = 'trialing' AND p_start < s.current_period_end AS in_trial,
            CASE WHEN p_start = s.cycle_start THEN s.cycle_end
                ELSE usage_cycle_end(s.id, p_start) END AS until) AS c
    WHERE s.id = p_subscription_id
$$;
