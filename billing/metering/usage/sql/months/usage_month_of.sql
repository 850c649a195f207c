-- The month in which a record arrived, from its id, which begins with its time (rules.record_key).
-- An event's id has a time in the month's first 132 seconds. All others are from before records had
-- months and belong to the first one.
CREATE OR REPLACE FUNCTION usage_month_of(p_id uuid, p_has_event boolean) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        CASE WHEN p_has_event AND uuid_extract_timestamp(p_id) AT TIME ZONE 'UTC'
            >= date_trunc('month', uuid_extract_timestamp(p_id) AT TIME ZONE 'UTC')
                + interval '132 seconds' THEN NULL
        ELSE date_trunc('month', uuid_extract_timestamp(p_id) AT TIME ZONE 'UTC')::date END,
        usage_first_month())
$$;
