-- The price that a limit has in `price`: of one unit as a text, or terms as an object. Inlined
-- where it is called.
CREATE OR REPLACE FUNCTION usage_price_of(p_price jsonb) RETURNS usage_price
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ROW(
        coalesce(p_price ->> 'model', 'per_unit'),
        coalesce((CASE jsonb_typeof(p_price) WHEN 'object' THEN p_price ->> 'unit_price'
            ELSE p_price #>> '{}' END)::numeric, 0),
        coalesce((p_price ->> 'package_size')::numeric, 1),
        coalesce((p_price ->> 'free_units')::numeric, 0),
        coalesce(nullif(p_price -> 'percentage', 'null'), p_price -> 'tiers', '[]'))::usage_price
$$;
