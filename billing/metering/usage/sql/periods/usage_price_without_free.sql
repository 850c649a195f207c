-- A price for use beyond a limit without so many of the units and uses that it gives for nothing:
-- it goes on behind them.
CREATE OR REPLACE FUNCTION usage_price_without_free(
    p_price jsonb, p_units numeric, p_uses bigint)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_price
        || jsonb_build_object('free_units', trim_scale(f.units - least(f.units, n.units))::text)
        || CASE WHEN t.terms IS NULL THEN '{}' ELSE jsonb_build_object(
            'percentage', t.terms || jsonb_build_object('free_transactions', greatest(
                0, (t.terms ->> 'free_transactions')::bigint - p_uses))) END
        || CASE WHEN n.units <= f.units THEN '{}' ELSE jsonb_build_object('tiers', (
            SELECT jsonb_agg(CASE WHEN u.until IS NULL THEN tier
                ELSE tier || jsonb_build_object('up_to', trim_scale(u.until)::text) END
                ORDER BY place)
            FROM jsonb_array_elements(p_price -> 'tiers') WITH ORDINALITY AS one(tier, place)
            CROSS JOIN LATERAL (
                SELECT (tier ->> 'up_to')::numeric - n.units + f.units) AS u(until)
            WHERE (u.until <= 0) IS NOT TRUE)) END
    FROM (SELECT coalesce((p_price ->> 'free_units')::numeric, 0)) AS f(units)
    CROSS JOIN (SELECT least(p_units, usage_free_units(p_price))) AS n(units)
    CROSS JOIN (SELECT nullif(p_price -> 'percentage', 'null')) AS t(terms)
$$;
