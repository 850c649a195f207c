-- Open claims of these ids' events with another id, because they were made in another month. By
-- key: whether they are open is checked afterwards.
CREATE OR REPLACE FUNCTION usage_claimed_ids(p_ids uuid[]) RETURNS usage_repeat[]
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    claimed usage_repeat[] := '{}';
    there record;
BEGIN
    IF NOT usage_claims_may_differ() THEN
        RETURN claimed;
    END IF;
    FOR there IN SELECT o.asked, o.low, o.high FROM usage_other_ids(p_ids) AS o LOOP
        claimed := claimed || ARRAY(
            SELECT ROW(i.asked, c.id)::usage_repeat
            FROM unnest(there.asked, there.low, there.high) AS i(asked, low, high)
            CROSS JOIN LATERAL (
                SELECT k.id, k.status FROM quota_claims AS k
                WHERE k.id >= i.low AND k.id <= i.high
                ORDER BY k.id LIMIT 1) AS c
            WHERE c.status = 'open' AND c.id <> i.asked);
    END LOOP;
    RETURN claimed;
END;
$$;
