-- That part of units, with six more decimals than they have: a half that the part as a number just
-- misses (five sixths of three) is there again. The same rule as proration.py of periods; only the
-- sum of a cycle is rounded further.
CREATE OR REPLACE FUNCTION usage_units_share(p_units numeric, p_part numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT round(p_units * p_part, scale(trim_scale(p_units)) + 6)
$$;
