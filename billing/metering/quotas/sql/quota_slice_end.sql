-- The end of an instant's slice of the rolling window: a sixtieth of its span.
CREATE OR REPLACE FUNCTION quota_slice_end(p_span integer, p_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT to_timestamp((div(extract(epoch FROM p_at) * 60, p_span) + 1) * p_span / 60)
$$;
