-- Count uses of one account on those of these quotas that roll, each in the slice of its own time,
-- and release their claims from the slices they were claimed in. A voided use subtracts only what a
-- slice has counted: nothing if the quota is younger than its record. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_count_slices(
    p_account_id uuid, p_quotas uuid[], p_uses quota_timed_use[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    INSERT INTO quota_slices (account_id, quota_id, ends_at, used)
    SELECT p_account_id, g.id, g.ends_at, greatest(0, coalesce(k.used, 0) + g.added)
    FROM (
        SELECT s.id, p.ends_at, sum(p.added) AS added
        FROM (
            SELECT q.id, quota_slice_end(q.span_seconds, coalesce(u.at, p_at)) AS used_until,
                CASE WHEN taken.created_at < q.created_at THEN 0 ELSE
                    quota_share(q, u.meter, u.user_id, u.organization_id, u.amount) END AS used,
                quota_slice_end(q.span_seconds, c.claimed_at) AS claimed_until,
                quota_share(q, c.meter, c.user_id, c.organization_id, c.amount) AS claimed
            FROM billing_quotas AS q CROSS JOIN unnest(p_uses) AS u
            LEFT JOIN quota_claims AS c ON c.id = u.id AND c.status = 'open'
            LEFT JOIN LATERAL (
                SELECT r.created_at
                FROM billing_records AS v JOIN billing_records AS r
                    ON r.id = v.voids AND r.month = v.month
                WHERE u.amount < 0 AND v.id = u.id AND v.month = ANY (usage_record_months(u.id))
                -- It keeps this apart: nothing is read for a use that is not taken back.
                LIMIT 1
            ) AS taken ON true
            WHERE q.id = ANY (p_quotas) AND q.span_seconds IS NOT NULL
            OFFSET 0) AS s
        CROSS JOIN LATERAL (VALUES (s.used_until, s.used), (s.claimed_until, -s.claimed))
            AS p(ends_at, added)
        WHERE p.added <> 0
        GROUP BY s.id, p.ends_at
        HAVING sum(p.added) <> 0) AS g
    LEFT JOIN quota_slices AS k ON k.quota_id = g.id AND k.ends_at = g.ends_at
    ON CONFLICT (quota_id, ends_at) DO UPDATE SET used = excluded.used
$$;
