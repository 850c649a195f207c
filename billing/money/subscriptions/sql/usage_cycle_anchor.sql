-- The anchor, on the wall of its zone, of a subscription's cycle from `p_start`. Those of a trial,
-- and of a first paid period that a billing day makes short, are counted from its beginning, also
-- in the rest that an end at a date has left. The same rule as
-- billing/money/subscriptions/periods/spans.py; a test holds this one to it.
CREATE OR REPLACE FUNCTION usage_cycle_anchor(p_subscription_id uuid, p_start timestamptz)
RETURNS timestamp
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT CASE
        WHEN s.status = 'trialing' AND NOT c.is_next THEN s.current_period_start AT TIME ZONE s.zone
        WHEN c.first <= c.begins AND c.first > (
            SELECT max(b.at) FROM usage_boundaries(
                s.anchor_wall, s.zone, s.interval_unit, s.interval_count, c.near, NULL) AS b(at)
            WHERE b.at <= c.near) THEN c.first AT TIME ZONE s.zone
        ELSE s.anchor_wall END
    FROM subscriptions AS s
    CROSS JOIN LATERAL (
        SELECT p_start >= s.current_period_end AS is_next,
            coalesce(s.trial_end, s.created_at) AS first) AS n
    CROSS JOIN LATERAL (
        SELECT n.is_next, n.first,
            CASE WHEN n.is_next THEN p_start ELSE s.current_period_start END AS begins,
            -- The whole period that holds it: days that were given have moved the anchor, so that
            -- of this period is found by its end.
            CASE WHEN n.is_next THEN p_start
                ELSE s.current_period_end - interval '1 microsecond' END AS near) AS c
    WHERE s.id = p_subscription_id
$$;
