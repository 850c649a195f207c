-- Records of these ids' events that have another id, for they came in another month: one look into
-- each month that may have one, by its key.
CREATE OR REPLACE FUNCTION usage_repeats(p_ids uuid[]) RETURNS usage_repeat[]
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    repeats usage_repeat[] := '{}';
    past date;
    there uuid[];
    known uuid[];
BEGIN
    FOREACH past IN ARRAY usage_months_looked_at() LOOP
        IF past = DATE '1970-01-01' THEN
            repeats := repeats || ARRAY(
                SELECT ROW(i.id, b.id)::usage_repeat
                FROM unnest(p_ids) AS i(id) CROSS JOIN LATERAL (
                    SELECT r.id FROM billing_records AS r
                    WHERE r.month = DATE '1970-01-01'
                        AND r.id >= usage_id_before(i.id, '0')
                        AND r.id <= usage_id_before(i.id, 'f')
                    ORDER BY r.id LIMIT 1) AS b
                WHERE usage_month_of(i.id, true) <> DATE '1970-01-01');
        ELSE
            there := usage_ids_in_month(p_ids, past);
            CONTINUE WHEN there = '{}';
            known := ARRAY(
                SELECT r.id FROM billing_records AS r WHERE r.id = ANY (there) AND r.month = past);
            CONTINUE WHEN known = '{}';
            repeats := repeats || ARRAY(
                SELECT ROW(i.id, i.there)::usage_repeat FROM unnest(p_ids, there) AS i(id, there)
                WHERE i.there = ANY (known) AND i.there <> i.id);
        END IF;
    END LOOP;
    RETURN repeats;
END;
$$;
