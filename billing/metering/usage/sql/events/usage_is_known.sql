-- Whether the event with this id was recorded, or claimed in another month. It was made just now:
-- its own month is among those that are looked at, and if it is the only one, no claim is of
-- another. Of a month there is one id that the event can have; the first month has a range of them.
CREATE OR REPLACE FUNCTION usage_is_known(p_id uuid) RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    months CONSTANT date[] := usage_months_looked_at();
    there date;
    its_id uuid;
BEGIN
    FOREACH there IN ARRAY months LOOP
        IF there = usage_first_month() THEN
            CONTINUE WHEN cardinality(
                usage_own_records(ARRAY[p_id]) || usage_repeats(ARRAY[p_id])) = 0;
            RETURN true;
        END IF;
        its_id := usage_id_in_month(p_id, usage_month_digits(there));
        IF EXISTS (SELECT FROM billing_records WHERE id = its_id AND month = there) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN cardinality(months) > 1 AND cardinality(usage_claimed_ids(ARRAY[p_id])) > 0;
END;
$$;
