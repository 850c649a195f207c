-- Other ids that these ids' events may have, month by month: the requested ids, each with the
-- lowest and highest it may have in a month. These differ only in the first month, where ids ended
-- in random digits.
CREATE OR REPLACE FUNCTION usage_other_ids(
    p_ids uuid[], OUT month date, OUT asked uuid[], OUT low uuid[], OUT high uuid[])
RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    FOREACH month IN ARRAY usage_months_looked_at() LOOP
        IF month = usage_first_month() THEN
            SELECT array_agg(i.id), array_agg(usage_id_before(i.id, '0')),
                array_agg(usage_id_before(i.id, 'f'))
            INTO asked, low, high
            FROM unnest(p_ids) AS i(id)
            WHERE usage_month_of(i.id, true) <> usage_first_month();
        ELSE
            asked := p_ids;
            low := usage_ids_in_month(p_ids, month);
            high := low;
        END IF;
        IF cardinality(low) > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END;
$$;
