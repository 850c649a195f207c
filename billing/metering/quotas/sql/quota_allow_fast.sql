-- Note until when, and up to which amount, claims on this use's quotas may take the fast path
-- (quota_claim_fast). Never for a rolling window, a blocking plan, an account with its own clock, a
-- default quota, or if another quota applies to some use. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_allow_fast(
    p_account_id uuid, p_claim quota_claim_input, p_period_id uuid)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    UPDATE billing_quotas AS q
    SET plain_until = fast.until, plain_below = least(
        999999999999999, CASE WHEN q.is_hard THEN q.limit_amount END,
        (SELECT min(q.limit_amount * 0.01 * percent) FROM unnest(q.alert_percents) AS u(percent)
         WHERE q.used * 100 < q.limit_amount * percent))
    FROM billing_quotas AS known CROSS JOIN LATERAL (
        SELECT CASE WHEN known.span_seconds IS NULL AND NOT known.is_derived AND NOT a.is_test
            AND p.no_entitlement IS NULL
            AND p.limits -> p_claim.meter ->> 'then' IS DISTINCT FROM 'block'
            AND NOT EXISTS (
                SELECT 1 FROM billing_quotas AS other
                WHERE other.account_id = p_account_id AND other.meter = p_claim.meter
                    AND NOT other.is_derived AND other.id <> known.id
                    AND (other.owner = known.owner
                        OR left(other.owner, 1) <> left(known.owner, 1)
                        OR other.owner = 'u*' AND other.window_kind <> known.window_kind))
            THEN least(p.end_at, p.terms_until, expires.at, CASE known.window_kind
                WHEN 'cycle' THEN p.end_at
                ELSE quota_window_end(known.window_kind, p.zone, known.window_start) END) END
        FROM usage_periods AS p
        JOIN accounts AS a ON a.id = p.account_id
        CROSS JOIN (
            SELECT min(expires_at) FROM quota_claims
            WHERE account_id = p_account_id AND status = 'open') AS expires(at)
        WHERE p.id = p_period_id) AS fast(until)
    WHERE known.account_id = p_account_id AND known.meter = p_claim.meter AND q.id = known.id
        AND known.owner IN ('', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id)
$$;
