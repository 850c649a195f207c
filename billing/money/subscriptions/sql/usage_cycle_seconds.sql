-- The length of the whole cycle in which a cycle ends at `p_end`, counted from an anchor on the
-- wall of its zone.
CREATE OR REPLACE FUNCTION usage_cycle_seconds(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_end timestamptz)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT extract(epoch FROM min(b.at) FILTER (WHERE b.at >= p_end)
        - max(b.at) FILTER (WHERE b.at < p_end))
    FROM usage_boundaries(p_anchor, p_zone, p_unit, p_count, p_end, NULL) AS b(at)
$$;
