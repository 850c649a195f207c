-- The start of the quota's window for a use's own time; without a time, and for a rolling quota,
-- whose windows have no start, the open window.
CREATE OR REPLACE FUNCTION quota_window_of(
    p_quota billing_quotas, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_at IS NULL OR p_quota.window_kind = 'rolling' THEN p_quota.window_start
        ELSE quota_window(p_quota.window_kind, NULL, p_zone, p_period_start, p_at) END
$$;
