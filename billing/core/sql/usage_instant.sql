-- The instant of a zone's local time: the first of a repeated time; a skipped one moves forward, as
-- in billing/core/periods.py. Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_instant(p_wall timestamp, p_zone text) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN early.at AT TIME ZONE p_zone = p_wall THEN early.at
        ELSE p_wall AT TIME ZONE p_zone END
    FROM (SELECT p_wall AT TIME ZONE p_zone - interval '3 hours' AS before) AS t
    CROSS JOIN LATERAL (
        -- By the offset that held before, if that shows this time at all.
        SELECT t.before + (p_wall - t.before AT TIME ZONE p_zone) AS at) AS early
$$;
