-- The maximum cost of any quantity up to `p_units` under a volume price: at the last unit, or at
-- the end of a more expensive tier below.
CREATE OR REPLACE FUNCTION usage_highest(p_free_units numeric, p_tiers jsonb, p_units numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT max(usage_cost('volume', 0, 1, p_free_units, p_tiers,
        least(p_units, p_free_units + (tier ->> 'up_to')::numeric)))
    FROM jsonb_array_elements(p_tiers) AS t(tier)
$$;
