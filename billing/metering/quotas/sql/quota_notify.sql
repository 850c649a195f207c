-- Notify of every threshold that quotas of an account, just set or given, have reached in their
-- windows at an instant. One whose window is not open yet is told by its next use. A default quota
-- counts nothing itself. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_notify(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_quotas uuid[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT usage_notify_thresholds(
        p_account_id, reached.alerts, p_at, 'evt.billing.usage.threshold_reached')
    FROM (
        SELECT ARRAY(
            SELECT ROW('quota ' || q.id, q.meter, q.owner, t.percent, w.begins, q.limit_amount,
                w.used)::usage_threshold_alert
            FROM billing_quotas AS q
            CROSS JOIN LATERAL (
                SELECT greatest(q.window_start, quota_window(
                    q.window_kind, q.span_seconds, p_zone, p_period_start, p_at)) AS begins,
                    CASE WHEN q.span_seconds IS NULL THEN q.used
                        ELSE quota_in_sight(q.id, q.span_seconds, p_at) END AS used
                OFFSET 0) AS w
            CROSS JOIN LATERAL unnest(q.alert_percents) AS t(percent)
            WHERE q.id = ANY (p_quotas) AND q.owner <> 'u*' AND w.used > 0
                AND (q.span_seconds IS NOT NULL OR q.window_start = w.begins)
                AND w.used * 100 >= q.limit_amount * t.percent
            ORDER BY q.owner, t.percent) AS alerts
        OFFSET 0) AS reached
    WHERE cardinality(reached.alerts) > 0
$$;
