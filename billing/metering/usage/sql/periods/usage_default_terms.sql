-- The terms of an account without a subscription: the default plan with agreed limits, those of
-- `p_at` itself if it `p_is_past`; without that plan, the reason for no access. No invoice would
-- bill its overage, so overage is refused.
CREATE OR REPLACE FUNCTION usage_default_terms(
    p_account_id uuid, p_at timestamptz, p_is_past boolean,
    OUT plan_id uuid, OUT limits jsonb, OUT no_entitlement text)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.id,
        CASE WHEN p.id IS NULL THEN '{}' ELSE usage_limits_of(
            CASE WHEN p_is_past THEN usage_limits_agreed_at(p_account_id, p.limits, p_at)
                ELSE usage_agreed_limits(p_account_id, p.limits, p_at) END,
            'active', 'full', NULL) END,
        CASE WHEN p.id IS NULL THEN 'no_subscription' END
    FROM (SELECT plan_by_default() AS id) AS d LEFT JOIN plans AS p ON p.id = d.id
$$;
