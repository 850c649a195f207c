-- What claims that are over count on a quota in the windows of an instant: those that are not
-- released yet (quota_open_windows). On one that is not given yet (quota_not_given) nothing counts.
CREATE OR REPLACE FUNCTION quota_expired(
    p_quota billing_quotas, p_at timestamptz, p_now timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(quota_share(p_quota, meter, user_id, organization_id, amount)), 0)
    FROM quota_claims
    WHERE account_id = p_quota.account_id AND status = 'open' AND expires_at <= p_now
        AND p_quota.window_start <> '-infinity'
        AND CASE WHEN p_quota.span_seconds IS NULL THEN claimed_at >= p_quota.window_start
            ELSE quota_slice_end(p_quota.span_seconds, claimed_at)
                    > p_at - make_interval(secs => p_quota.span_seconds)
                AND claimed_at <= p_at + make_interval(secs => p_quota.span_seconds) END
$$;
