-- When a quota's open window regains amounts, if nothing more is used: claims expire, and slices
-- leave a rolling window.
CREATE OR REPLACE FUNCTION quota_releases(p_quota_id uuid, p_at timestamptz)
RETURNS TABLE (at timestamptz, amount numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    WITH claims AS (
        SELECT c.expires_at,
            quota_share(q, c.meter, c.user_id, c.organization_id, c.amount) AS amount,
            quota_slice_end(q.span_seconds, c.claimed_at)
                + make_interval(secs => q.span_seconds) AS out_of_sight
        FROM billing_quotas AS q CROSS JOIN LATERAL quota_claims_in_force(q.account_id, p_at) AS c
        WHERE q.id = p_quota_id
            AND (q.span_seconds IS NOT NULL OR c.claimed_at >= q.window_start)
    ), parts AS (
        SELECT least(expires_at, out_of_sight) AS at, amount FROM claims
        UNION ALL
        SELECT out_of_sight, -amount FROM claims WHERE out_of_sight IS NOT NULL
        UNION ALL
        SELECT s.ends_at + make_interval(secs => q.span_seconds), s.used
        FROM billing_quotas AS q JOIN quota_slices AS s ON s.quota_id = q.id
        WHERE q.id = p_quota_id
    )
    SELECT p.at, sum(p.amount) FROM parts AS p
    WHERE p.at > p_at GROUP BY p.at HAVING sum(p.amount) <> 0 ORDER BY p.at
$$;
