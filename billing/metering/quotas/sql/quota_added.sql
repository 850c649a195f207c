-- What a use adds to a quota beyond what its claim has counted there: to the open window, and
-- (nothing, or less) to the one before. A claim covers its own meter, user and organisation in the
-- window it was made in; a rolling quota also sees the window before. A claim that counted too much
-- gives the rest back.
CREATE OR REPLACE FUNCTION quota_added(
    p_quota billing_quotas, p_use quota_use, p_claim quota_claims)
RETURNS TABLE (added numeric, added_before numeric)
LANGUAGE sql STABLE AS $$
    SELECT u.amount - c.now - least(u.amount, c.before), least(u.amount, c.before) - c.before
    FROM (
        SELECT CASE WHEN p_use.meter = p_quota.meter
            AND p_quota.owner IN ('', 'u:' || p_use.user_id, 'o:' || p_use.organization_id)
            THEN p_use.amount ELSE 0 END AS amount) AS u
    CROSS JOIN (
        SELECT
            CASE WHEN there AND p_claim.claimed_at >= p_quota.window_start
                THEN p_claim.amount ELSE 0 END AS now,
            CASE WHEN there AND p_claim.claimed_at < p_quota.window_start
                AND p_claim.claimed_at >= p_quota.window_start
                    - make_interval(secs => p_quota.span_seconds)
                THEN p_claim.amount ELSE 0 END AS before
        FROM (
            SELECT p_claim.meter = p_quota.meter AND p_quota.owner IN (
                '', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id) AS there) AS m) AS c
$$;
