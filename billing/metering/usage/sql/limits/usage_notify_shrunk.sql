-- Notify at the percents (usage_alert_percents) of the open period's limits that use had not
-- reached under the previous limits (`p_before`): they were lowered, or are new. Expects the
-- account's lock.
CREATE OR REPLACE FUNCTION usage_notify_shrunk(
    p_account_id uuid, p_period_start timestamptz, p_before jsonb, p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT usage_notify_threshold(
        p_account_id,
        ROW('plan', l.meter, '', t.percent, p_period_start, n.included,
            u.used)::usage_threshold_alert,
        p_at)
    FROM usage_periods AS p
    CROSS JOIN LATERAL jsonb_each(p.limits) AS l(meter, lim)
    CROSS JOIN LATERAL usage_allowance(l.lim) AS n
    CROSS JOIN LATERAL usage_allowance(p_before -> l.meter) AS b
    CROSS JOIN LATERAL (
        SELECT n.carried + coalesce(sum(quantity), 0) FROM usage_cycles
        WHERE account_id = p_account_id AND owner = '' AND period_start = p_period_start
            AND meter = l.meter) AS u(used)
    CROSS JOIN LATERAL usage_alert_percents() AS t(percent)
    WHERE p.account_id = p_account_id AND p.start_at = p_period_start
        AND l.lim ->> 'then' <> 'none' AND u.used > 0
        AND n.included * t.percent <= u.used * 100
        AND (b.included * t.percent <= u.used * 100) IS NOT TRUE
    ORDER BY l.meter, t.percent
$$;
