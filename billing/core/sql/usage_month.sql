-- The calendar month of an instant in a zone, half-open: month_of() in billing/core/periods.py; a
-- test compares the two.
CREATE OR REPLACE FUNCTION usage_month(p_zone text, p_at timestamptz)
RETURNS TABLE (start_at timestamptz, end_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT usage_instant(m.wall, p_zone), usage_instant(m.wall + interval '1 month', p_zone)
    FROM (SELECT date_trunc('month', p_at AT TIME ZONE p_zone)) AS m(wall)
$$;
