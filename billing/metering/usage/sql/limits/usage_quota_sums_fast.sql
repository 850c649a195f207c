-- The amounts that uses of the fast path add to their accounts' quotas, and between which times.
CREATE OR REPLACE FUNCTION usage_quota_sums_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS TABLE (id uuid, account integer, added numeric, first_at timestamptz, last_at timestamptz)
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT q.id, s.account, sum(s.amount), min(s.first_at), max(s.last_at)
    FROM (
        SELECT a.account_id, u.account, k.meter, u.user_id, u.organization_id,
            sum(u.amount) AS amount, min(coalesce(u.used_at, a.as_of)) AS first_at,
            max(coalesce(u.used_at, a.as_of)) AS last_at
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        WHERE a.has_quotas
        GROUP BY a.account_id, u.account, k.meter, u.user_id, u.organization_id
        OFFSET 0) AS s
    CROSS JOIN LATERAL (
        SELECT id FROM billing_quotas
        WHERE account_id = s.account_id AND meter = s.meter
            AND owner IN ('', 'u:' || s.user_id, 'o:' || s.organization_id)
        OFFSET 0) AS q
    GROUP BY q.id, s.account
$$;
