-- Those of these ids that a record has: one key look-up in each month that they are of. Most
-- batches are of one month, which is detected without computing each id's month.
CREATE OR REPLACE FUNCTION usage_own_records(p_ids uuid[]) RETURNS usage_repeat[]
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    only_month date := usage_month_of(p_ids[1], true);
    found uuid[] := '{}';
    here record;
BEGIN
    IF only_month <> usage_first_month()
        AND cardinality(usage_ids_in_month(p_ids, only_month)) = 0
    THEN
        RETURN ARRAY(
            SELECT ROW(r.id, r.id)::usage_repeat FROM billing_records AS r
            WHERE r.id = ANY (p_ids) AND r.month = only_month);
    END IF;
    FOR here IN
        SELECT m.month, array_agg(m.id) AS ids FROM (
            SELECT usage_month_of(i.id, false) AS month, i.id FROM unnest(p_ids) AS i(id)
            UNION
            SELECT usage_first_month(), i.id FROM unnest(p_ids) AS i(id)
            WHERE usage_month_of(i.id, true) = usage_first_month()) AS m
        GROUP BY m.month
    LOOP
        found := found || ARRAY(
            SELECT r.id FROM billing_records AS r
            WHERE r.id = ANY (here.ids) AND r.month = here.month);
    END LOOP;
    RETURN ARRAY(SELECT ROW(f.id, f.id)::usage_repeat FROM unnest(found) AS f(id));
END;
$$;
