-- The amount that a use adds to a quota in the window of its own time, beyond what its claim has
-- already counted in that window; 0 if the claim counted more.
CREATE OR REPLACE FUNCTION quota_asked(
    p_quota billing_quotas, p_zone text, p_use quota_timed_use, p_claim quota_claims,
    p_now timestamptz)
RETURNS TABLE (begins timestamptz, added numeric)
LANGUAGE sql STABLE AS $$
    SELECT w.begins, greatest(0, quota_share(p_quota, p_use.meter, p_use.user_id,
        p_use.organization_id, p_use.amount) - CASE
            WHEN p_quota.span_seconds IS NULL AND w.begins <> p_quota.window_start
                OR p_quota.span_seconds IS NULL AND p_claim.claimed_at < p_quota.window_start
                OR quota_slice_end(p_quota.span_seconds, p_claim.claimed_at)
                    <= coalesce(p_use.at, p_now) - make_interval(secs => p_quota.span_seconds)
                OR p_claim.claimed_at > p_use.at + make_interval(secs => p_quota.span_seconds)
                THEN 0
            ELSE coalesce(quota_share(p_quota, p_claim.meter, p_claim.user_id,
                p_claim.organization_id, p_claim.amount), 0) END)
    FROM (SELECT quota_window_of(p_quota, p_zone, p_use.period_start, p_use.at)) AS w(begins)
$$;
