-- The end of a subscription's cycle from `p_start` that its own step has not begun yet; an end at a
-- date cuts those of periods that have not begun. The same rule as
-- billing/money/subscriptions/periods/spans.py; a test holds this one to it.
CREATE OR REPLACE FUNCTION usage_cycle_end(p_subscription_id uuid, p_start timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT least(
        usage_boundary(usage_cycle_anchor(s.id, p_start), s.zone, p.allowance_unit,
            p.allowance_count, p_start),
        CASE WHEN p_start < s.current_period_end THEN s.current_period_end
            WHEN p_start < c.anchor THEN c.anchor
            ELSE usage_boundary(s.anchor_wall, s.zone, s.interval_unit, s.interval_count,
                p_start) END,
        CASE WHEN p_start >= s.current_period_end AND s.cancel_at > p_start THEN s.cancel_at END)
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (SELECT usage_instant(s.anchor_wall, s.zone) AS anchor) AS c
    WHERE s.id = p_subscription_id
$$;
