-- The sum of a quota owner's records in one of its windows, by their own times: the sum of its
-- days. Not for rolling windows, whose slices are more precise.
CREATE OR REPLACE FUNCTION quota_recorded(
    p_quota billing_quotas, p_zone text, p_begins timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(quantity), 0) FROM usage_counters
    WHERE account_id = p_quota.account_id AND owner = p_quota.owner AND grain = 'day'
        AND meter = p_quota.meter
        AND CASE WHEN p_quota.window_kind = 'cycle' THEN period_start = p_begins
            ELSE bucket >= p_begins
                AND bucket < quota_window_end(p_quota.window_kind, p_zone, p_begins) END
$$;
