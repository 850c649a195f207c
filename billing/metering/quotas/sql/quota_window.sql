-- Start of the window that an instant lies in.
CREATE OR REPLACE FUNCTION quota_window(
    p_kind text, p_span integer, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE p_kind
        WHEN 'cycle' THEN p_period_start
        WHEN 'rolling' THEN to_timestamp(div(extract(epoch FROM p_at), p_span) * p_span)
        ELSE date_trunc(p_kind, p_at, p_zone)
    END
$$;
