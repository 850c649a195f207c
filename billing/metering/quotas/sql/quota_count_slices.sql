-- Count uses of one account on those of their quotas that roll, each in the slice of its own time,
-- and release their claims from the slices they were claimed in. A voided use subtracts only what a
-- slice has counted: nothing if the quota is younger than its record. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_count_slices(
    p_account_id uuid, p_uses quota_timed_use[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    INSERT INTO quota_slices (account_id, quota_id, ends_at, used)
    SELECT p_account_id, g.id, g.ends_at, greatest(0, coalesce(k.used, 0) + g.added)
    FROM (
        SELECT s.id, s.ends_at, sum(s.added) AS added
        FROM (
            SELECT q.id,
                quota_slice_end(q.span_seconds, coalesce(c.claimed_at, c.at, p_at)) AS ends_at,
                CASE WHEN taken.created_at < q.created_at THEN 0 ELSE c.amount END AS added
            FROM quota_counts(p_account_id, p_uses) AS c
            CROSS JOIN LATERAL (
                SELECT id, span_seconds, created_at FROM billing_quotas
                WHERE id = c.quota_id LIMIT 1) AS q
            LEFT JOIN LATERAL (
                SELECT r.created_at
                FROM billing_records AS v JOIN billing_records AS r
                    ON r.id = v.voids AND r.month = v.month
                WHERE c.claimed_at IS NULL AND c.amount < 0 AND v.id = c.use_id
                    AND v.month = ANY (usage_record_months(c.use_id))
                -- It keeps this apart: nothing is read for a use that is not taken back.
                LIMIT 1
            ) AS taken ON true
            WHERE q.span_seconds IS NOT NULL
            OFFSET 0) AS s
        GROUP BY s.id, s.ends_at
        HAVING sum(s.added) <> 0) AS g
    LEFT JOIN LATERAL (
        SELECT used FROM quota_slices WHERE quota_id = g.id AND ends_at = g.ends_at LIMIT 1) AS k
        ON true
    ON CONFLICT (quota_id, ends_at) DO UPDATE SET used = excluded.used
$$;
