-- What `p_units` cost in credits after `p_before`; never negative. Of a volume price, whose total
-- falls where a cheaper tier is reached, only what goes beyond `p_paid`: what the units before have
-- cost.
CREATE OR REPLACE FUNCTION usage_charge(
    p_model text, p_unit_price numeric, p_package_size numeric, p_free_units numeric,
    p_tiers jsonb, p_before numeric, p_units numeric, p_paid numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_model = 'per_unit' AND p_free_units = 0
            THEN usage_charge_units(p_units, p_unit_price, 'CREDIT')
        WHEN p_model = 'volume'
            THEN greatest(0, usage_round(c.after, 'CREDIT') - greatest(
                usage_round(c.before, 'CREDIT'),
                -- At most what this price can have cost: they may have been dearer under another.
                least(p_paid, usage_round(
                    usage_highest(p_free_units, p_tiers, p_before), 'CREDIT'))))
        ELSE usage_round(greatest(0, c.after - c.before), 'CREDIT') END
    FROM (SELECT
        usage_cost(p_model, p_unit_price, p_package_size, p_free_units, p_tiers,
            p_before + p_units) AS after,
        usage_cost(p_model, p_unit_price, p_package_size, p_free_units, p_tiers,
            p_before) AS before) AS c
$$;
