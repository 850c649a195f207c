-- The length of the whole cycle in which the one from `p_start` to `p_end` lies, counted from an
-- anchor on the wall of its zone. One that begins in a repeated hour is whole, also if that is the
-- second.
CREATE OR REPLACE FUNCTION usage_cycle_seconds(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_start timestamptz,
    p_end timestamptz)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT extract(epoch FROM min(b.at) FILTER (WHERE b.at >= p_end)
        - max(CASE WHEN b.at AT TIME ZONE p_zone = p_start AT TIME ZONE p_zone THEN p_start
            ELSE b.at END) FILTER (WHERE b.at < p_end))
    FROM usage_boundaries(p_anchor, p_zone, p_unit, p_count, p_end, NULL) AS b(at)
$$;
