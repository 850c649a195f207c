-- What a month gave until a subscription was ordered in it and not paid yet: the default plan, also
-- where nothing was used by then.
CREATE OR REPLACE FUNCTION usage_terms_before_order(
    p_account_id uuid, p_no_entitlement text, p_start timestamptz, p_at timestamptz)
RETURNS jsonb
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN p_no_entitlement = 'incomplete' AND p_start < p_at THEN (
        SELECT usage_terms_that_end(d.limits, d.no_entitlement, '{}', p_no_entitlement, p_at)
        FROM usage_default_terms(p_account_id, p_at, false) AS d) ELSE '[]' END
$$;
