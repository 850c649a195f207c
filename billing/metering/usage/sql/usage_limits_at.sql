-- The limits of a period as uses of a time in it meet them: by the rules and prices of that time
-- (`p_before`, usage_periods.limits_before), with the units that the cycle includes now.
CREATE OR REPLACE FUNCTION usage_limits_at(
    p_limits jsonb, p_no_entitlement text, p_before jsonb, p_at timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT p_limits || coalesce((
            SELECT jsonb_object_agg(l.meter, l.lim || coalesce(
                (p_limits -> l.meter) - 'then' - 'price', '{}'))
            FROM jsonb_each(b.one -> 'limits') AS l(meter, lim)), '{}')
        FROM jsonb_array_elements(p_before) WITH ORDINALITY AS b(one, place)
        WHERE p_at < (b.one ->> 'until')::timestamptz
        ORDER BY b.place LIMIT 1), usage_limits_in_force(p_limits, p_no_entitlement))
$$;
