-- The calendar month of an instant in a zone, half-open.
CREATE OR REPLACE FUNCTION usage_month(p_zone text, p_at timestamptz)
RETURNS TABLE (start_at timestamptz, end_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT m.wall AT TIME ZONE p_zone, (m.wall + interval '1 month') AT TIME ZONE p_zone
    FROM (SELECT date_trunc('month', p_at AT TIME ZONE p_zone)) AS m(wall)
$$;
