-- Places of the accounts with a use that the fast path has no answer for: of a kind that is not
-- among these; of more than one use of its meter may report; with a price, but too small to cost
-- anything, which the long way calls free; or dearer than one use may be. Each use is looked at
-- only where the least or the largest of them does not fit some kind.
CREATE OR REPLACE FUNCTION usage_misfits_fast(
    p_kinds usage_fast_kind[], p_uses usage_input[], p_are_all_simple boolean)
RETURNS integer[]
LANGUAGE sql STABLE
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    WITH kinds AS MATERIALIZED (
        SELECT k.kind, k.unit_price,
            usage_max_per_use((SELECT max_per_use FROM meters WHERE key = k.meter)) AS most
        FROM unnest(p_kinds) AS k
    )
    SELECT CASE WHEN p_are_all_simple AND (
        SELECT coalesce(bool_and(r.least > 0 AND r.most <= k.most AND CASE WHEN k.unit_price > 0
            THEN usage_charge_units(r.least, k.unit_price, 'CREDIT') > 0
                AND usage_charge_units(r.most, k.unit_price, 'CREDIT') <= usage_most_cost('CREDIT')
            ELSE true END), true)
        FROM (SELECT min(amount) AS least, max(amount) AS most FROM unnest(p_uses)) AS r
        CROSS JOIN kinds AS k)
    THEN '{}' ELSE ARRAY(
        SELECT DISTINCT u.account
        FROM unnest(p_uses) AS u LEFT JOIN kinds AS k ON k.kind = u.kind
        WHERE k.kind IS NULL OR u.amount = 0 OR u.amount > k.most
            OR CASE WHEN k.unit_price > 0 THEN usage_charge_units(u.amount, k.unit_price, 'CREDIT')
                NOT BETWEEN 0.000001 AND usage_most_cost('CREDIT') END)
    END
$$;
