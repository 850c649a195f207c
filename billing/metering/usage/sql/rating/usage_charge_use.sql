-- The cost of one use by a percentage of its value, after units of `p_before` and `p_uses` uses of
-- its cycle (null: more than are free): charge() in billing/catalog/rating/rules.py.
CREATE OR REPLACE FUNCTION usage_charge_use(
    p_price usage_price, p_currency text, p_before numeric, p_units numeric, p_uses bigint)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN v.value <= 0 OR p_uses < (p_price.tiers ->> 'free_transactions')::bigint THEN 0
        ELSE usage_round(
            usage_cost('percentage', 0, 1, 0, p_price.tiers, v.value), p_currency) END
    FROM (SELECT least(p_units, p_before + p_units - p_price.free_units) AS value) AS v
$$;
