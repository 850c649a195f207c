-- Notify at the percents (usage_alert_percents) of the plan's allowance that own use has just grown
-- past. Units carried into the cycle count on both sides.
CREATE OR REPLACE FUNCTION usage_notify_limits(p_grown usage_growth[], p_records usage_rated[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT usage_notify_threshold(
        g.account_id,
        ROW('plan', g.meter, '', t.percent, g.period_start, l.included,
            l.carried + u.used)::usage_threshold_alert,
        (SELECT max(created_at) FROM unnest(p_records) WHERE account_id = g.account_id))
    FROM unnest(p_grown) AS g
    CROSS JOIN LATERAL (
        SELECT a.included, a.carried
        FROM usage_periods CROSS JOIN LATERAL usage_allowance(limits -> g.meter) AS a
        WHERE account_id = g.account_id AND start_at = g.period_start LIMIT 1) AS l
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity), 0) FROM usage_cycles
        WHERE l.included IS NOT NULL AND account_id = g.account_id AND owner = ''
            AND period_start = g.period_start AND meter = g.meter) AS u(used)
    CROSS JOIN LATERAL usage_alert_percents() AS t(percent)
    WHERE l.included * t.percent > (l.carried + u.used - g.added) * 100
        AND l.included * t.percent <= (l.carried + u.used) * 100
    ORDER BY g.account_id, g.meter, t.percent
$$;
