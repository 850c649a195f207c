-- Notify of every threshold that a quota, just set or given, has reached in its window. A default
-- quota counts nothing itself. Expects the account's lock and an open window.
CREATE OR REPLACE FUNCTION quota_notify(p_quota_id uuid, p_at timestamptz) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT usage_notify_threshold(
        q.account_id,
        ROW('quota ' || q.id, q.meter, q.owner, t.percent, q.window_start, q.limit_amount,
            q.used)::usage_threshold_alert,
        p_at)
    FROM billing_quotas AS q CROSS JOIN LATERAL unnest(q.alert_percents) AS t(percent)
    WHERE q.id = p_quota_id AND q.owner <> 'u*' AND q.used > 0
        AND q.used * 100 >= q.limit_amount * t.percent
    ORDER BY t.percent
$$;
