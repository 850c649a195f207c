-- The cost of `p_units` after `p_before` by a price with tiers, packages or free units, rounded
-- once; never negative. For a volume price, whose total falls where a cheaper tier is reached, only
-- what exceeds `p_paid`, the cost of the earlier units.
CREATE OR REPLACE FUNCTION usage_charge_after(
    p_price usage_price, p_currency text, p_before numeric, p_units numeric, p_paid numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_price.model = 'volume'
            THEN greatest(0, usage_round(c.after, p_currency) - greatest(
                usage_round(c.before, p_currency),
                -- At most what this price can have cost: they may have been dearer under another.
                least(p_paid, usage_round(
                    usage_highest(p_price.free_units, p_price.tiers, p_before), p_currency))))
        ELSE usage_round(greatest(0, c.after - c.before), p_currency) END
    FROM (SELECT
        usage_cost(p_price.model, p_price.unit_price, p_price.package_size, p_price.free_units,
            p_price.tiers, p_before + p_units) AS after,
        usage_cost(p_price.model, p_price.unit_price, p_price.package_size, p_price.free_units,
            p_price.tiers, p_before) AS before) AS c
$$;
