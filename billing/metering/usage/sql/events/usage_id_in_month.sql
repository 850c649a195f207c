-- An event's id in the month with these first digits, from its id in another month or from before
-- records had months.
CREATE OR REPLACE FUNCTION usage_id_in_month(p_id uuid, p_digits text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN usage_month_of(p_id, true) <> usage_first_month()
        THEN (p_digits || substr(p_id::text, 9))::uuid
        ELSE regexp_replace(replace(p_id::text, '-', ''), '^(....)(...)(.{15}).*$',
            p_digits || '\17\28\3')::uuid END
$$;
