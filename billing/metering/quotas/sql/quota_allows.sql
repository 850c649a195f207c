-- Whether every hard quota and the plan's blocking limit allow a use, on top of use and claims so
-- far; expired claims do not count, even if they have not been released yet. Expects the account's
-- lock and open windows.
CREATE OR REPLACE FUNCTION quota_allows(
    p_account_id uuid, p_claim quota_claim_input, p_lim jsonb, p_period_start timestamptz,
    p_at timestamptz)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT NOT EXISTS (
        SELECT 1 FROM billing_quotas AS q
        WHERE account_id = p_account_id AND meter = p_claim.meter AND is_hard
            AND owner IN ('', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id)
            AND used + p_claim.amount - quota_expired(q, p_at, p_at) > limit_amount)
        AND (p_lim IS NULL OR p_lim ->> 'then' <> 'block'
            OR p_claim.amount <= (p_lim ->> 'included')::numeric
                - coalesce((
                    SELECT CASE WHEN p_lim ? 'beyond' THEN quantity ELSE covered END
                    FROM usage_cycles
                    WHERE account_id = p_account_id AND owner = ''
                        AND period_start = p_period_start AND meter = p_claim.meter), 0)
                - quota_reserved(p_account_id, p_claim.meter, p_at, '{}'))
$$;
