-- The first boundary after `p_at` (usage_boundaries) that is not before the first period's end.
CREATE OR REPLACE FUNCTION usage_boundary(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min(b.at)
    FROM usage_boundaries(p_anchor, p_zone, p_unit, p_count, p_at, 1) AS b(at)
    WHERE b.at > p_at
$$;
