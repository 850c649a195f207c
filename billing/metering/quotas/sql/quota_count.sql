-- Count uses of one account on every quota they fall under, each less what was claimed for it, and
-- notify of the thresholds this crosses. An id alone gives back all that was claimed for it.
-- Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_count(p_account_id uuid, p_uses quota_use[], p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    quota record;
    percent integer;
BEGIN
    FOR quota IN
        WITH uses AS MATERIALIZED (
            SELECT u AS use, c.claim
            FROM unnest(p_uses) AS u
            LEFT JOIN LATERAL (
                SELECT k AS claim FROM quota_claims AS k
                WHERE k.id = u.id AND k.status = 'open' LIMIT 1) AS c ON true
        ), sums AS (
            SELECT q.id, sum(r.added) AS added, sum(r.added_before) AS added_before
            FROM billing_quotas AS q CROSS JOIN uses AS u
            CROSS JOIN LATERAL quota_added(q, u.use, u.claim) AS r
            WHERE q.account_id = p_account_id
            GROUP BY q.id
        )
        UPDATE billing_quotas AS q
        SET used = greatest(0, q.used + s.added),
            used_before = greatest(0, q.used_before + s.added_before), updated_at = p_at
        FROM sums AS s
        WHERE q.account_id = p_account_id AND q.id = s.id
            AND (s.added <> 0 OR s.added_before <> 0)
        RETURNING q.id, q.meter, q.owner, q.limit_amount, q.alert_percents, q.window_start,
            quota_used(old.used, old.used_before, q.span_seconds, q.window_start, p_at) AS was,
            quota_used(new.used, new.used_before, q.span_seconds, q.window_start, p_at) AS used
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
