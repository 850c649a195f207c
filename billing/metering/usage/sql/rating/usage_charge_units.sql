-- The cost of units at a price per unit: all such charges use this, including the fast path.
-- Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_charge_units(
    p_units numeric, p_unit_price numeric, p_currency text)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT usage_round(p_units * p_unit_price, p_currency)
$$;
