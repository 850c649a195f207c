-- End of the slice of a rolling window that an instant lies in: a sixtieth of its span.
CREATE OR REPLACE FUNCTION quota_slice_end(p_span integer, p_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT to_timestamp((div(extract(epoch FROM p_at) * 60, p_span) + 1) * p_span / 60)
$$;
