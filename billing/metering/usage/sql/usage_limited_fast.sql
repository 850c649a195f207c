-- Places of the accounts whose plan limits, or refuses (`*`), what some of these uses count on.
CREATE OR REPLACE FUNCTION usage_limited_fast(
    p_accounts usage_account[], p_kinds usage_kind[], p_simple usage_fast_kind[],
    p_uses usage_input[])
RETURNS integer[]
LANGUAGE sql STABLE
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    SELECT ARRAY(
        SELECT DISTINCT u.account
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_simple) AS s ON s.kind = u.kind
        JOIN unnest(p_kinds) WITH ORDINALITY AS k ON k.ordinality = u.kind
        WHERE a.limits ? s.meter OR a.limits ? '*' AND (
            k.product_id IS NULL OR k.method IS NOT DISTINCT FROM 'subscription_included'))
$$;
