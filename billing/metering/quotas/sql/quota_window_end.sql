-- End of a quota's day or month that begins then: where the next one begins, and its midnight at
-- that, though the day's own midnight may have been skipped. Inlined where it is called.
CREATE OR REPLACE FUNCTION quota_window_end(p_kind text, p_zone text, p_begins timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT usage_instant(
        date_trunc(p_kind, p_begins AT TIME ZONE p_zone) + ('1 ' || p_kind)::interval, p_zone)
$$;
