-- Count uses of one account on its rolling quotas, each in the slice of its own time, and take back
-- what was claimed for them from the slice it was claimed in. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_count_slices(
    p_account_id uuid, p_uses quota_timed_use[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    INSERT INTO quota_slices AS s (account_id, quota_id, ends_at, used)
    SELECT p_account_id, g.id, g.ends_at, g.added
    FROM (
        SELECT s.id, p.ends_at, sum(p.added) AS added
        FROM (
            SELECT q.id, quota_slice_end(q.span_seconds, coalesce(u.at, p_at)) AS used_until,
                quota_share(q, u.meter, u.user_id, u.organization_id, u.amount) AS used,
                quota_slice_end(q.span_seconds, c.claimed_at) AS claimed_until,
                quota_share(q, c.meter, c.user_id, c.organization_id, c.amount) AS claimed
            FROM billing_quotas AS q CROSS JOIN unnest(p_uses) AS u
            LEFT JOIN quota_claims AS c ON c.id = u.id AND c.status = 'open'
            WHERE q.account_id = p_account_id AND q.span_seconds IS NOT NULL
            OFFSET 0) AS s
        CROSS JOIN LATERAL (VALUES (s.used_until, s.used), (s.claimed_until, -s.claimed))
            AS p(ends_at, added)
        WHERE p.added <> 0
        GROUP BY s.id, p.ends_at
        HAVING sum(p.added) <> 0) AS g
    ON CONFLICT (quota_id, ends_at) DO UPDATE SET used = s.used + excluded.used
$$;
