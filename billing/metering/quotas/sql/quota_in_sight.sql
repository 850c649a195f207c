-- The use within a rolling window that ends at an instant: slices that ended less than its span
-- before. A use leaves the window with its slice, at most a sixtieth of the span late.
CREATE OR REPLACE FUNCTION quota_in_sight(p_quota_id uuid, p_span integer, p_at timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(used), 0) FROM quota_slices
    WHERE quota_id = p_quota_id AND ends_at > p_at - make_interval(secs => p_span)
$$;
