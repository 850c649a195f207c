-- How many of the first `p_units` beyond a limit its price gave for nothing. A volume price gives
-- none of its tiers once it reaches one that costs something.
CREATE OR REPLACE FUNCTION usage_given_free(p_price jsonb, p_units numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(p_units, CASE
        WHEN p_price ->> 'model' = 'volume' AND p_units > usage_free_units(p_price)
            THEN coalesce((p_price ->> 'free_units')::numeric, 0)
        ELSE usage_free_units(p_price) END)
$$;
