-- What the first `p_units` of a cycle cost together, unrounded: the same rule as
-- billing/rating/rules.py, which is the truth; a test holds this one to it.
CREATE OR REPLACE FUNCTION usage_cost(
    p_model text, p_unit_price numeric, p_package_size numeric, p_free_units numeric,
    p_tiers jsonb, p_units numeric)
RETURNS numeric
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    paid numeric := p_units - p_free_units;
    total numeric := 0;
    start numeric := 0;
    until numeric;
    tier jsonb;
BEGIN
    IF paid <= 0 THEN
        RETURN 0;
    ELSIF p_model = 'per_unit' THEN
        RETURN paid * p_unit_price;
    ELSIF p_model = 'flat' THEN
        RETURN p_unit_price;
    ELSIF p_model = 'package' THEN
        -- Whole packages, by exact division; a quotient would be rounded.
        RETURN (div(paid, p_package_size) + sign(mod(paid, p_package_size))) * p_unit_price;
    END IF;
    FOR tier IN SELECT value FROM jsonb_array_elements(p_tiers) LOOP
        until := coalesce((tier ->> 'up_to')::numeric, paid);
        IF p_model = 'graduated' THEN
            total := total + (tier ->> 'flat_price')::numeric
                + (least(until, paid) - start) * (tier ->> 'unit_price')::numeric;
        ELSIF paid <= until THEN
            total := (tier ->> 'flat_price')::numeric + paid * (tier ->> 'unit_price')::numeric;
        END IF;
        EXIT WHEN paid <= until;
        start := until;
    END LOOP;
    RETURN total;
END;
$$;

-- The greatest that any number of units up to `p_units` costs under a volume price: at its last
-- unit, or at the end of a dearer tier below.
CREATE OR REPLACE FUNCTION usage_highest(p_free_units numeric, p_tiers jsonb, p_units numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT max(usage_cost('volume', 0, 1, p_free_units, p_tiers,
        least(p_units, p_free_units + (tier ->> 'up_to')::numeric)))
    FROM jsonb_array_elements(p_tiers) AS t(tier)
$$;

-- What `p_units` cost in credits after `p_before`, rounded once to six decimals, half away from
-- zero; never negative. Of a volume price, whose total falls where a cheaper tier is reached, only
-- what goes beyond `p_paid`: what the units before have cost.
CREATE OR REPLACE FUNCTION usage_charge(
    p_model text, p_unit_price numeric, p_package_size numeric, p_free_units numeric,
    p_tiers jsonb, p_before numeric, p_units numeric, p_paid numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_model = 'volume'
        THEN greatest(0, round(c.after, 6) - greatest(round(c.before, 6),
            -- At most what this price can have cost: they may have been dearer under another one.
            least(p_paid, round(usage_highest(p_free_units, p_tiers, p_before), 6))))
        ELSE round(greatest(0, c.after - c.before), 6) END
    FROM (SELECT
        usage_cost(p_model, p_unit_price, p_package_size, p_free_units, p_tiers,
            p_before + p_units) AS after,
        usage_cost(p_model, p_unit_price, p_package_size, p_free_units, p_tiers,
            p_before) AS before) AS c
$$;
