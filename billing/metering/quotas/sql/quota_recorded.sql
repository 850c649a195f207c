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
        -- Bounds of the key: a condition of both would read all its days, ever.
        AND period_start >= CASE p_quota.window_kind WHEN 'cycle' THEN p_begins
            ELSE '-infinity' END
        AND period_start <= CASE p_quota.window_kind WHEN 'cycle' THEN p_begins
            ELSE 'infinity' END
        AND bucket >= CASE p_quota.window_kind WHEN 'cycle' THEN '-infinity' ELSE p_begins END
        AND bucket < CASE p_quota.window_kind WHEN 'cycle' THEN 'infinity'
            ELSE quota_window_end(p_quota.window_kind, p_zone, p_begins) END
$$;
