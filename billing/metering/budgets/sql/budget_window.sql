-- The window of an instant, half-open; a cycle's end is left open.
CREATE OR REPLACE FUNCTION budget_window(
    p_window text, p_zone text, p_period_start timestamptz, p_at timestamptz,
    OUT begins timestamptz, OUT ends timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT
        CASE p_window WHEN 'cycle' THEN p_period_start ELSE m.start_at END,
        CASE p_window WHEN 'cycle' THEN 'infinity' ELSE m.end_at END
    FROM usage_month(p_zone, p_at) AS m
$$;
