-- Places of accounts with a use at whose time the price differed from its kind's price from `p_at`
-- on (usage_simple_kinds).
CREATE OR REPLACE FUNCTION usage_otherwise_priced_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[],
    p_at timestamptz)
RETURNS integer[]
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    WITH changed AS MATERIALIZED (
        SELECT k.kind, t.effective_from, coalesce(t.effective_to, 'infinity') AS effective_to
        FROM unnest(p_kinds) AS k
        CROSS JOIN LATERAL (
            SELECT effective_from, effective_to FROM product_prices
            WHERE product = k.product_id AND currency = 'CREDIT'
                AND effective_from <= p_at AND p_at < coalesce(effective_to, 'infinity')
            LIMIT 1) AS t
        WHERE t.effective_to IS NOT NULL OR EXISTS (
            SELECT FROM product_prices
            WHERE product = k.product_id AND currency = 'CREDIT'
                AND effective_from < t.effective_from)
    )
    SELECT CASE WHEN EXISTS (SELECT FROM changed) THEN ARRAY(
        SELECT DISTINCT u.account
        FROM unnest(p_uses) AS u
        JOIN changed AS c ON c.kind = u.kind
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        WHERE coalesce(u.used_at, a.as_of) < c.effective_from
            OR coalesce(u.used_at, a.as_of) >= c.effective_to)
    ELSE '{}' END
$$;
