-- Cut the slices of a rolling quota for its new span. A new quota begins with open claims. The
-- count of one with another span (p_before) is kept: an old slice moves to the one it ended in, an
-- open claim to that of its own time. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_cut_slices(
    p_account_id uuid, p_quota_id uuid, p_quota quota_input, p_before integer)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    -- The sums below read all of what is gone before a new slice is written.
    WITH gone AS (
        DELETE FROM quota_slices
        WHERE quota_id = p_quota_id AND p_before <> p_quota.span_seconds
        RETURNING ends_at, used
    ), claims AS (
        SELECT claimed_at, amount FROM quota_claims
        WHERE p_before IS DISTINCT FROM p_quota.span_seconds
            AND account_id = p_account_id AND status = 'open' AND meter = p_quota.meter
            AND p_quota.owner IN ('', 'u:' || user_id, 'o:' || organization_id)
    )
    INSERT INTO quota_slices (account_id, quota_id, ends_at, used)
    SELECT p_account_id, p_quota_id, quota_slice_end(p_quota.span_seconds, p.at), sum(p.used)
    FROM (
        -- Ends of slices are rounded: a little before, they are in the slice for sure.
        SELECT o.ends_at - interval '1 millisecond' AS at, greatest(0, sum(o.used)) AS used
        FROM (
            SELECT ends_at, used FROM gone
            UNION ALL
            SELECT quota_slice_end(p_before, claimed_at), -amount FROM claims
            WHERE p_before IS NOT NULL) AS o
        GROUP BY o.ends_at
        UNION ALL
        SELECT claimed_at, amount FROM claims) AS p
    GROUP BY 3
    HAVING sum(p.used) > 0
$$;
