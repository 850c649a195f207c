-- Count uses of one account on all their quotas, in the windows of their own times, release their
-- claims, and notify of reached thresholds. A use in a past window counts only by its record
-- (quota_recorded), because a row stores only its open window. Expects the account's lock and open
-- windows (quota_open_windows).
CREATE OR REPLACE FUNCTION quota_apply(
    p_account_id uuid, p_uses quota_timed_use[], p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    zone text := quota_zone(p_account_id);
    quota record;
    percent integer;
BEGIN
    IF EXISTS (
        SELECT FROM billing_quotas WHERE id = ANY (quota_concerned(p_account_id, p_uses))
            AND span_seconds IS NOT NULL)
    THEN
        PERFORM quota_count_slices(p_account_id, p_uses, p_at);
    END IF;
    FOR quota IN
        WITH sums AS (
            SELECT q.id, CASE WHEN q.span_seconds IS NULL THEN q.used + sum(
                    CASE WHEN CASE WHEN c.claimed_at IS NULL
                        THEN quota_window_of(q, zone, c.period_start, c.at) = q.window_start
                        ELSE c.claimed_at >= q.window_start END THEN c.amount ELSE 0 END)
                ELSE quota_in_sight(q.id, q.span_seconds, p_at) END AS used
            FROM quota_counts(p_account_id, p_uses) AS c
            JOIN billing_quotas AS q ON q.id = c.quota_id
            GROUP BY q.id
        )
        UPDATE billing_quotas AS q
        -- Beyond any limit there is nothing more to know.
        SET used = least(999999999999999, greatest(0, s.used)), updated_at = p_at
        FROM sums AS s
        WHERE q.id = s.id AND s.used <> q.used
        RETURNING q.id, q.meter, q.owner, q.limit_amount, q.alert_percents, q.window_start,
            old.used AS was, new.used
    LOOP
        FOREACH percent IN ARRAY quota.alert_percents LOOP
            IF quota.was * 100 < quota.limit_amount * percent
                AND quota.used * 100 >= quota.limit_amount * percent
            THEN
                PERFORM usage_notify_threshold(
                    p_account_id,
                    ROW('quota ' || quota.id, quota.meter, quota.owner, percent,
                        quota.window_start, quota.limit_amount, quota.used)::usage_threshold_alert,
                    p_at);
            END IF;
        END LOOP;
    END LOOP;
END;
$$;
