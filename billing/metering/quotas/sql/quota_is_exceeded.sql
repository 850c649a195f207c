-- Whether one account's records ask for more than its hard quotas have left. Late ones ask for
-- nothing; neither does what was claimed beforehand, nor what adds nothing, however much is used.
CREATE OR REPLACE FUNCTION quota_is_exceeded(
    p_records usage_rated[], p_account_id uuid, p_at timestamptz)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH uses AS MATERIALIZED (
        SELECT c.claim,
            ROW((r.use).id, (r.use).user_id, (r.use).organization_id, r.meter,
                r.included_units + r.charged_units)::quota_use AS use
        FROM unnest(p_records) AS r
        LEFT JOIN LATERAL (
            SELECT k AS claim FROM quota_claims AS k
            WHERE k.id = (r.use).id AND k.status = 'open' LIMIT 1) AS c ON true
        WHERE r.failure IS NULL AND NOT r.is_late
    )
    SELECT coalesce(bool_or(a.amount > 0 AND a.amount
        + quota_used(q.used, q.used_before, q.span_seconds, q.window_start, p_at)
            > q.limit_amount), false)
    FROM billing_quotas AS q CROSS JOIN LATERAL (
        -- What one row gives back is not there yet for the rows before it.
        SELECT sum(greatest(0, r.added))
        FROM uses AS u CROSS JOIN LATERAL quota_added(q, u.use, u.claim) AS r) AS a(amount)
    WHERE q.account_id = p_account_id AND q.is_hard
$$;
