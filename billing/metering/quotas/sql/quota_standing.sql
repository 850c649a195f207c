-- The use of these owners' quotas (quota_in_force) in the windows of an instant, as of now: expired
-- claims do not count, even if they have not been released yet.
CREATE OR REPLACE FUNCTION quota_standing(
    p_account_id uuid, p_meter text, p_owners text[], p_zone text, p_period_start timestamptz,
    p_at timestamptz, p_now timestamptz)
RETURNS TABLE (quota billing_quotas, begins timestamptz, used numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT q, w.begins, greatest(0, CASE
        WHEN q.span_seconds IS NOT NULL
            THEN quota_rolled(q.id, q.span_seconds, p_at) - expired.amount
        WHEN w.begins = q.window_start THEN q.used - expired.amount
        ELSE quota_recorded(q, p_zone, w.begins) END
        -- Of one that is not given yet: it will begin with what is claimed.
        + CASE WHEN q.window_start = '-infinity' AND p_at >= p_now THEN (
            SELECT coalesce(sum(quota_share(q, meter, user_id, organization_id, amount)), 0)
            FROM quota_claims_in_force(p_account_id, p_now)
            WHERE claimed_at >= w.begins) ELSE 0 END)
    FROM quota_in_force(p_account_id, p_meter, p_owners) AS q
    CROSS JOIN LATERAL (
        SELECT quota_window(q.window_kind, q.span_seconds, p_zone, p_period_start, p_at)
    ) AS w(begins)
    CROSS JOIN quota_expired(q, p_at, p_now) AS expired(amount)
$$;
