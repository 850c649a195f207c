-- Count uses of the fast path on their quotas, which usage_beyond_quotas_fast has locked and
-- checked.
CREATE OR REPLACE FUNCTION usage_count_quotas_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH sums AS MATERIALIZED (
        SELECT s.id, s.added, a.as_of
        FROM usage_quota_sums_fast(p_accounts, p_kinds, p_uses) AS s
        JOIN unnest(p_accounts) AS a ON a.place = s.account
    )
    UPDATE billing_quotas AS q SET used = q.used + s.added, updated_at = s.as_of
    FROM sums AS s
    WHERE q.id = s.id AND s.added > 0
$$;
