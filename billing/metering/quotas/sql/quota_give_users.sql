-- Give the users of these uses the default quotas that they do not have yet, with the use already
-- counted in the window, and notify of reached thresholds. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_give_users(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_uses quota_timed_use[],
    p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    given record;
BEGIN
    IF NOT EXISTS (
        SELECT FROM billing_quotas
        WHERE account_id = p_account_id AND NOT is_derived AND owner = 'u*')
    THEN
        RETURN;
    END IF;
    FOR given IN
        SELECT n.owner, n.meter, n.window_kind, n.span_seconds, n.limit_amount, n.is_hard,
            n.alert_percents
        FROM (
            SELECT DISTINCT meter, 'u:' || user_id AS owner FROM unnest(p_uses)
            WHERE meter IS NOT NULL AND user_id IS NOT NULL) AS u
        CROSS JOIN LATERAL quota_not_given(p_account_id, u.meter, ARRAY[u.owner]) AS n
    LOOP
        PERFORM quota_notify(p_account_id, p_zone, p_period_start, ARRAY[quota_write(
            p_account_id,
            ROW(given.owner, given.meter, given.window_kind, given.span_seconds,
                given.limit_amount, given.is_hard, given.alert_percents)::quota_input,
            quota_window(
                given.window_kind, given.span_seconds, p_zone, p_period_start, p_at),
            true, p_at)], p_at);
    END LOOP;
END;
$$;
