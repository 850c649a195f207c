-- The part of a whole cycle that a subscription's cycle from `p_start` is: one, but for a short
-- one. The same rule as billing/money/subscriptions/spans.py; a test holds this one to it. A trial
-- has one whole cycle. Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_cycle_part(p_subscription_id uuid, p_start timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN s.status = 'trialing' AND p_start < s.current_period_end THEN 1
        ELSE least(1, extract(epoch FROM c.until - p_start)
            / usage_cycle_seconds(s.anchor_wall, s.zone, p.allowance_unit, p.allowance_count,
                c.until)) END
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (
        -- One that its own step has not begun yet ends as usage_plan_period says.
        SELECT CASE WHEN p_start = s.cycle_start THEN s.cycle_end ELSE least(
            usage_boundary(s.anchor_wall, s.zone, p.allowance_unit, p.allowance_count, p_start),
            usage_boundary(s.anchor_wall, s.zone, s.interval_unit, s.interval_count, p_start))
            END AS until) AS c
    WHERE s.id = p_subscription_id
$$;
