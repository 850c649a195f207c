-- The limits of a period for uses of a time in it: the rules and prices of that time (`p_before`,
-- usage_periods.limits_before), with the units that the cycle includes now; a meter that had no
-- limit then has none. A level needs both: `before` says how many units were included then, and
-- `part` for which part of the cycle.
CREATE OR REPLACE FUNCTION usage_limits_at(
    p_limits jsonb, p_no_entitlement text, p_before jsonb, p_at timestamptz,
    p_start timestamptz, p_end timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT coalesce((
            SELECT jsonb_object_agg(l.meter, l.lim || CASE WHEN p_limits ? l.meter
                THEN (p_limits -> l.meter) - 'then' - 'price' || jsonb_build_object(
                    'before', l.lim -> 'included', 'part', u.part) ELSE '{}' END)
            FROM jsonb_each(b.one -> 'limits') AS l(meter, lim)), '{}')
        FROM jsonb_array_elements(p_before) WITH ORDINALITY AS b(one, place)
        CROSS JOIN LATERAL (SELECT (b.one ->> 'until')::timestamptz) AS t(until)
        CROSS JOIN LATERAL (SELECT extract(epoch FROM t.until - p_start)
            / extract(epoch FROM p_end - p_start)) AS u(part)
        WHERE p_at < t.until
        ORDER BY b.place LIMIT 1), usage_limits_in_force(p_limits, p_no_entitlement))
$$;
