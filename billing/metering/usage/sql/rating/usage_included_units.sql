-- How many of a use's units a limit includes, after those used before. Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_included_units(
    p_lim jsonb, p_counts text, p_before numeric, p_units numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_lim IS NULL THEN 0
        -- A level from before a change: the units of each plan, by its part of the cycle
        -- (usage_limits_at), to as many decimals as portions.stay_beyond gives.
        WHEN p_lim ? 'before' AND usage_is_level(p_counts) THEN round(
            least(p_units, greatest(0, (p_lim ->> 'before')::numeric - p_before))
                * (p_lim ->> 'part')::numeric
            + least(p_units, greatest(0, (p_lim ->> 'included')::numeric - p_before))
                * (1 - (p_lim ->> 'part')::numeric), 6)
        ELSE least(p_units, greatest(0, (p_lim ->> 'included')::numeric - p_before)) END
$$;
