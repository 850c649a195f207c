-- Months in which an event that arrives now may already be recorded: as far back as a use may be
-- dated, and slightly ahead, because clocks differ.
CREATE OR REPLACE FUNCTION usage_months_looked_at() RETURNS date[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT month FROM usage_months
        WHERE ends_at > clock_timestamp() - usage_late_limit()
            AND month <= (clock_timestamp() + interval '1 hour') AT TIME ZONE 'UTC'
        ORDER BY month DESC)
$$;
