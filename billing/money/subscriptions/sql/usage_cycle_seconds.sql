-- The length of the whole cycle in which a cycle ends at `p_end`, counted from an anchor on the
-- wall of its zone.
CREATE OR REPLACE FUNCTION usage_cycle_seconds(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_end timestamptz)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT extract(epoch FROM min(b.at) FILTER (WHERE b.at >= p_end)
        - max(b.at) FILTER (WHERE b.at < p_end))
    FROM (
        SELECT
            CASE WHEN p_unit IN ('month', 'year') THEN 'month' ELSE 'day' END AS unit,
            p_count * CASE p_unit WHEN 'year' THEN 12 WHEN 'week' THEN 7 ELSE 1 END AS units,
            p_end AT TIME ZONE p_zone AS wall) AS s
    CROSS JOIN LATERAL (
        SELECT div(CASE s.unit
            WHEN 'month' THEN 12 * (extract(year FROM s.wall) - extract(year FROM p_anchor))
                + extract(month FROM s.wall) - extract(month FROM p_anchor)
            ELSE s.wall::date - p_anchor::date END, s.units)::integer AS number) AS near
    CROSS JOIN LATERAL (
        SELECT usage_instant(p_anchor + CASE s.unit
            WHEN 'month' THEN make_interval(months => n * s.units)
            ELSE make_interval(days => n * s.units) END, p_zone) AS at
        FROM generate_series(near.number - 2, near.number + 2) AS n) AS b
$$;
