-- The ids of these ids' events in a month, in order; none if all are of that month. Most uses are
-- of the first one's month: only the digits of the month change in their ids.
CREATE OR REPLACE FUNCTION usage_ids_in_month(p_ids uuid[], p_month date) RETURNS uuid[]
LANGUAGE plpgsql IMMUTABLE
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    digits text := usage_month_digits(p_month);
    theirs text := CASE WHEN usage_month_of(p_ids[1], true) <> usage_first_month()
        THEN left(p_ids[1]::text, 8) ELSE '00000000' END;
    first uuid := (digits || repeat('0', 24))::uuid;
    last uuid := (digits || repeat('f', 24))::uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(p_ids) AS i(id) WHERE i.id < first OR i.id > last) THEN
        RETURN '{}';
    END IF;
    first := (theirs || repeat('0', 24))::uuid;
    last := (theirs || repeat('f', 24))::uuid;
    RETURN ARRAY(
        SELECT CASE WHEN i.id >= first AND i.id <= last THEN (digits || substr(i.id::text, 9))::uuid
            ELSE usage_id_in_month(i.id, digits) END
        FROM unnest(p_ids) AS i(id));
END;
$$;
