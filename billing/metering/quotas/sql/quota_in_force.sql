-- The account's quotas, of one meter or all, that apply to these owners, including defaults not
-- given yet (quota_not_given); without owners, those that were set.
CREATE OR REPLACE FUNCTION quota_in_force(p_account_id uuid, p_meter text, p_owners text[])
RETURNS SETOF billing_quotas
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT q FROM billing_quotas AS q
    WHERE p_owners IS NULL AND q.account_id = p_account_id AND NOT q.is_derived
        AND (p_meter IS NULL OR q.meter = p_meter)
    UNION ALL
    SELECT q FROM billing_quotas AS q
    WHERE q.account_id = p_account_id AND q.owner = ANY (p_owners)
        AND (p_meter IS NULL OR q.meter = p_meter)
    UNION ALL
    SELECT n FROM quota_not_given(p_account_id, p_meter, p_owners) AS n
$$;
