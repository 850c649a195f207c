-- How many units a price for use beyond a limit gives for nothing: its free units and, after these,
-- the tiers that cost nothing.
CREATE OR REPLACE FUNCTION usage_free_units(p_price jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(p_price) <> 'object' THEN 0
        ELSE coalesce((p_price ->> 'free_units')::numeric, 0) + coalesce((
            SELECT max(coalesce((t.tier ->> 'up_to')::numeric, 'Infinity'))
            FROM (
                SELECT tier, bool_or((tier ->> 'unit_price')::numeric > 0
                    OR (tier ->> 'flat_price')::numeric > 0) OVER (ORDER BY place) AS costs
                FROM jsonb_array_elements(nullif(p_price -> 'tiers', 'null'))
                    WITH ORDINALITY AS one(tier, place)) AS t
            WHERE NOT coalesce(t.costs, false)), 0) END
$$;
