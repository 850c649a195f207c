-- Limits of a plan, each of a level with the units that stay `beyond` it in the cycle from
-- `p_start`: those that a change within the cycle includes were beyond the plan of before, and for
-- the time before the change they stay so. Else who changes in the last second has had the larger
-- plan all along. Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_with_units_beyond(
    p_limits jsonb, p_subscription_id uuid, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_agg(CASE WHEN b.units IS NULL THEN l.lim
        ELSE l.lim || jsonb_build_object('beyond', trim_scale(b.units)::text) END
        ORDER BY l.place), '[]')
    FROM jsonb_array_elements(p_limits) WITH ORDINALITY AS l(lim, place)
    LEFT JOIN (
        SELECT one.meter, sum(one.units::numeric) AS units
        FROM usage_changes_in_cycle(p_subscription_id, p_start) AS c
        CROSS JOIN LATERAL jsonb_each_text(c.terms -> 'stay_beyond') AS one(meter, units)
        GROUP BY one.meter) AS b ON b.meter = l.lim ->> 'meter'
$$;
