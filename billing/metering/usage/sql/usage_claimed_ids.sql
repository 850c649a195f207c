-- Open claims of these ids' events that have another id, for they were made in another month. None
-- lives for a day, and so they are looked for on the first day of a month alone, and while programs
-- of the release before may be about. By their key: whether they are open is seen afterwards.
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
    past date;
    there uuid[];
BEGIN
    IF NOT EXISTS (
        SELECT FROM usage_months
        WHERE ends_at > clock_timestamp() - interval '1 day'
                AND ends_at <= clock_timestamp() + interval '1 hour'
            OR month = DATE '1970-01-01' AND ends_at > clock_timestamp())
    THEN
        RETURN claimed;
    END IF;
    FOREACH past IN ARRAY usage_months_looked_at() LOOP
        IF past = DATE '1970-01-01' THEN
            claimed := claimed || ARRAY(
                SELECT ROW(i.id, c.id)::usage_repeat
                FROM unnest(p_ids) AS i(id) CROSS JOIN LATERAL (
                    SELECT k.id, k.status FROM quota_claims AS k
                    WHERE k.id >= usage_id_before(i.id, '0') AND k.id <= usage_id_before(i.id, 'f')
                    ORDER BY k.id LIMIT 1) AS c
                WHERE c.status = 'open');
        ELSE
            there := usage_ids_in_month(p_ids, past);
            CONTINUE WHEN there = '{}';
            claimed := claimed || ARRAY(
                SELECT ROW(i.id, c.id)::usage_repeat
                FROM (
                    SELECT k.id, k.status FROM quota_claims AS k
                    WHERE k.id = ANY (there) OFFSET 0) AS c
                JOIN unnest(p_ids, there) AS i(id, there) ON i.there = c.id
                WHERE c.status = 'open' AND i.there <> i.id);
        END IF;
    END LOOP;
    RETURN claimed;
END;
$$;
