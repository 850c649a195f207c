-- What a quota's window has used: a rolling one counts the part of the window before that is still
-- in sight, as if it had been used evenly.
CREATE OR REPLACE FUNCTION quota_used(
    p_used numeric, p_before numeric, p_span integer, p_window_start timestamptz,
    p_at timestamptz)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN p_span IS NULL OR p_before = 0 THEN p_used
        ELSE p_used + round(p_before * greatest(0, 1 - (extract(epoch FROM p_at)
            - extract(epoch FROM p_window_start)) / p_span), 12)
    END
$$;
