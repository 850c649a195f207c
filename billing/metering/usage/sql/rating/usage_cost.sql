-- The total cost of the first `p_units` of a cycle, unrounded. The authoritative rule is
-- billing/catalog/rating/rules.py; a test compares the two.
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
    ELSIF p_model = 'percentage' THEN
        -- As one use; `p_tiers` are the terms of the percentage, their factor exact.
        RETURN least((p_tiers ->> 'maximum')::numeric, greatest((p_tiers ->> 'minimum')::numeric,
            (p_tiers ->> 'fixed_price')::numeric + paid * (p_tiers ->> 'percent')::numeric * 0.01));
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
