-- The initial use of a new quota's window: recorded uses and open claims. A rolling window starts
-- without recorded uses, because counters are daily.
CREATE OR REPLACE FUNCTION quota_counted(
    p_account_id uuid, p_quota quota_input, p_begins timestamptz,
    OUT used numeric, OUT used_before numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT
        coalesce(sum(amount) FILTER (WHERE claimed_at >= p_begins), 0) + CASE
            WHEN p_quota.window_kind = 'rolling' THEN 0 ELSE (
                SELECT coalesce(sum(quantity), 0) FROM usage_counters
                WHERE account_id = p_account_id AND owner = p_quota.owner
                    AND meter = p_quota.meter AND grain = 'day'
                    AND period_start >= CASE p_quota.window_kind
                        WHEN 'cycle' THEN p_begins ELSE '-infinity' END
                    AND bucket >= CASE p_quota.window_kind
                        WHEN 'cycle' THEN '-infinity' ELSE p_begins END) END,
        coalesce(sum(amount) FILTER (WHERE claimed_at < p_begins), 0)
    FROM quota_claims
    WHERE account_id = p_account_id AND status = 'open' AND meter = p_quota.meter
        AND p_quota.owner IN ('', 'u:' || user_id, 'o:' || organization_id)
        AND claimed_at >= p_begins - make_interval(secs => coalesce(p_quota.span_seconds, 0))
$$;
