-- Months in which an event that comes now may have been recorded already: as far back as a use may
-- be dated, and a little ahead, for clocks differ.
CREATE OR REPLACE FUNCTION usage_months_looked_at() RETURNS date[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT month FROM usage_months
        WHERE ends_at > clock_timestamp() - usage_late_limit()
            AND month <= (clock_timestamp() + interval '1 hour') AT TIME ZONE 'UTC'
        ORDER BY month DESC)
$$;
