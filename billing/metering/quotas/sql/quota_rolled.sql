-- The highest use of any rolling window that contains this instant: the window that ends with it,
-- and those that end with a later slice within the span. So late uses keep the limit at their own
-- time, whatever their order.
CREATE OR REPLACE FUNCTION quota_rolled(p_quota_id uuid, p_span integer, p_at timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT max(s.used)
    FROM (
        SELECT p_at - make_interval(secs => p_span) AS after, quota_slice_end(p_span, p_at) AS until
        UNION ALL
        -- With the slice that is just leaving: some use of the later one may have seen it. The
        -- ends of slices are rounded, so half a slice keeps clear of them.
        SELECT q.ends_at - make_interval(secs => p_span + p_span / 120.0), q.ends_at
        FROM quota_slices AS q
        WHERE q.quota_id = p_quota_id AND q.ends_at > quota_slice_end(p_span, p_at)
            AND q.ends_at <= quota_slice_end(p_span, p_at) + make_interval(secs => p_span)
    ) AS w
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(used), 0) AS used FROM quota_slices
        WHERE quota_id = p_quota_id AND ends_at > w.after AND ends_at <= w.until) AS s
$$;
