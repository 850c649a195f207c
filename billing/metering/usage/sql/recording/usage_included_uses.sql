-- Those of these uses whose meter their account's plan limits.
CREATE OR REPLACE FUNCTION usage_included_uses(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[],
    p_limited integer[])
RETURNS usage_input[]
LANGUAGE sql STABLE
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    SELECT ARRAY(
        SELECT u
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        WHERE a.place IN (SELECT unnest(p_limited)) AND a.limits ? k.meter
        ORDER BY u.place)
$$;
