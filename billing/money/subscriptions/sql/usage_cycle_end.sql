-- The end of a subscription's cycle from `p_start` that its own step has not begun yet. Those of a
-- trial, and of a short period before the anchor, are counted from its beginning. The same rule as
-- billing/money/subscriptions/spans.py; a test holds this one to it.
CREATE OR REPLACE FUNCTION usage_cycle_end(p_subscription_id uuid, p_start timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT least(
        usage_boundary(CASE WHEN c.from_begin THEN c.begins AT TIME ZONE s.zone
            ELSE s.anchor_wall END, s.zone, p.allowance_unit, p.allowance_count, p_start),
        CASE WHEN NOT c.is_next THEN s.current_period_end WHEN c.before_anchor THEN c.anchor
            ELSE usage_boundary(s.anchor_wall, s.zone, s.interval_unit, s.interval_count,
                p_start) END)
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (
        SELECT n.is_next, n.anchor, p_start < n.anchor AS before_anchor,
            p_start < n.anchor OR (s.status = 'trialing' AND NOT n.is_next) AS from_begin,
            CASE WHEN n.is_next THEN s.current_period_end
                ELSE s.current_period_start END AS begins
        FROM (SELECT p_start >= s.current_period_end AS is_next,
            usage_instant(s.anchor_wall, s.zone) AS anchor) AS n) AS c
    WHERE s.id = p_subscription_id
$$;
