-- Whether one account's records exceed what its hard quotas have left in the windows of their own
-- times. Claimed amounts, and records that add nothing, never do; nor do expired claims, even if
-- they have not been released yet. Expects the account's lock and open windows.
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
    -- Expired claims are summed up only where they matter: they may be many.
    SELECT coalesce(bool_or(a.amount > 0 AND a.amount + w.used > q.limit_amount AND (
        q.span_seconds IS NULL AND a.begins <> q.window_start
        OR a.amount + w.used - quota_expired(q, a.at, p_at) > q.limit_amount)), false)
    FROM (
        -- What one row gives back is not there yet for the rows before it.
        SELECT o.id, r.begins, min(u.zone) AS zone, sum(r.added) AS amount,
            max(coalesce((u.use).at, p_at)) FILTER (WHERE r.added > 0) AS at, max(
            CASE WHEN o.span_seconds IS NOT NULL AND r.added > 0
            THEN quota_rolled(o.id, o.span_seconds, coalesce((u.use).at, p_at)) END) AS rolled
        FROM (
            SELECT s.zone, s.use, s.claim, (s.use).meter, w.owner
            FROM uses AS s CROSS JOIN LATERAL (VALUES
                (''), ('u:' || (s.use).user_id), ('o:' || (s.use).organization_id)) AS w(owner)
            WHERE w.owner IS NOT NULL
            -- As in quota_counts: each use only with its own quotas.
            OFFSET 0) AS u
        JOIN billing_quotas AS o
            ON o.account_id = p_account_id AND o.meter = u.meter AND o.owner = u.owner
        CROSS JOIN LATERAL quota_asked(o, u.zone, u.use, u.claim, p_at) AS r
        WHERE o.is_hard
        GROUP BY o.id, r.begins) AS a
    JOIN billing_quotas AS q ON q.id = a.id
    CROSS JOIN LATERAL (SELECT CASE
        WHEN q.span_seconds IS NOT NULL THEN a.rolled
        WHEN a.begins = q.window_start THEN q.used
        ELSE quota_recorded(q, a.zone, a.begins) END) AS w(used)
$$;
