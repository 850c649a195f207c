-- Records of these ids' events with another id, because they arrived in another month: one key
-- look-up in each month that may contain one.
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
    there record;
BEGIN
    FOR there IN SELECT o.month, o.asked, o.low, o.high FROM usage_other_ids(p_ids) AS o LOOP
        repeats := repeats || ARRAY(
            SELECT ROW(i.asked, b.id)::usage_repeat
            FROM unnest(there.asked, there.low, there.high) AS i(asked, low, high)
            CROSS JOIN LATERAL (
                SELECT r.id FROM billing_records AS r
                WHERE r.month = there.month AND r.id >= i.low AND r.id <= i.high
                ORDER BY r.id LIMIT 1) AS b
            WHERE b.id <> i.asked);
    END LOOP;
    RETURN repeats;
END;
$$;
