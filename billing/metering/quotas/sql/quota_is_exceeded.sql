-- Whether one account's records exceed what its hard quotas have left in the windows of their own
-- times. Claimed amounts, and records that add nothing, never do. Expects the account's lock and
-- open windows.
CREATE OR REPLACE FUNCTION quota_is_exceeded(
    p_records usage_rated[], p_account_id uuid, p_at timestamptz)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH uses AS MATERIALIZED (
        SELECT c.claim, z.name AS zone,
            ROW((r.use).id, (r.use).user_id, (r.use).organization_id, r.meter,
                r.included_units + r.charged_units, (r.use).used_at, r.period_start
                )::quota_timed_use AS use
        FROM quota_zone(p_account_id) AS z(name) CROSS JOIN unnest(p_records) AS r
        LEFT JOIN LATERAL (
            SELECT k AS claim FROM quota_claims AS k
            WHERE k.id = (r.use).id AND k.status = 'open' LIMIT 1) AS c ON true
        WHERE r.failure IS NULL
    )
    SELECT coalesce(bool_or(a.amount > 0 AND a.amount + CASE
        WHEN q.span_seconds IS NOT NULL THEN a.rolled
        WHEN a.begins = q.window_start THEN q.used
        ELSE quota_recorded(q, a.zone, a.begins) END > q.limit_amount), false)
    FROM billing_quotas AS q CROSS JOIN LATERAL (
        -- What one row gives back is not there yet for the rows before it.
        SELECT r.begins, min(u.zone) AS zone, sum(r.added) AS amount, max(
            CASE WHEN q.span_seconds IS NOT NULL AND r.added > 0
            THEN quota_rolled(q.id, q.span_seconds, coalesce((u.use).at, p_at)) END) AS rolled
        FROM uses AS u
        CROSS JOIN LATERAL quota_asked(q, u.zone, u.use, u.claim, p_at) AS r
        GROUP BY r.begins) AS a
    WHERE q.is_hard AND q.id = ANY (ARRAY(
        SELECT unnest(quota_concerned(p_account_id, ARRAY(SELECT u.use FROM uses AS u)))))
$$;
