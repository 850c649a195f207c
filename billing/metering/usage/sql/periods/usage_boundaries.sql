-- The boundaries around `p_near` of periods counted from a local anchor: the 31st is the 31st again
-- after February, and of a repeated time the first counts. From number `p_least` on; if it is null,
-- also those before the anchor. The authoritative rule is billing/core/periods.py; a test compares
-- the two.
CREATE OR REPLACE FUNCTION usage_boundaries(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_near timestamptz,
    p_least integer)
RETURNS SETOF timestamptz
LANGUAGE sql STABLE AS $$
    SELECT usage_instant(p_anchor + CASE s.unit
        WHEN 'month' THEN make_interval(months => n * s.units)
        ELSE make_interval(days => n * s.units) END, p_zone)
    FROM (
        SELECT
            CASE WHEN p_unit IN ('month', 'year') THEN 'month' ELSE 'day' END AS unit,
            p_count * CASE p_unit WHEN 'year' THEN 12 WHEN 'week' THEN 7 ELSE 1 END AS units,
            p_near AT TIME ZONE p_zone AS wall) AS s
    CROSS JOIN LATERAL (
        SELECT div(CASE s.unit
            WHEN 'month' THEN 12 * (extract(year FROM s.wall) - extract(year FROM p_anchor))
                + extract(month FROM s.wall) - extract(month FROM p_anchor)
            ELSE s.wall::date - p_anchor::date END, s.units)::integer AS number) AS near
    CROSS JOIN LATERAL generate_series(
        greatest(p_least, near.number - 2), greatest(p_least, near.number + 2)) AS n
$$;
