-- What units cost at a price per unit: every such charge comes from here, on the fast path too.
-- Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_charge_units(
    p_units numeric, p_unit_price numeric, p_currency text)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT usage_round(p_units * p_unit_price, p_currency)
$$;
