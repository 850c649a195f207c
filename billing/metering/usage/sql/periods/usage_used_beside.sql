-- What an account's other periods used of what counts once since `p_since`, for the one from
-- `p_start`: all use of those before it, and what those after it included that go on from it, now
-- or until their terms changed (limits that are `shared`). A level is not used up, so nothing of
-- it counts.
CREATE OR REPLACE FUNCTION usage_used_beside(
    p_account_id uuid, p_since timestamptz, p_start timestamptz)
RETURNS TABLE (meter text, quantity numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT c.meter, sum(c.quantity)
    FROM usage_periods AS p CROSS JOIN LATERAL (
        SELECT meter, quantity FROM usage_counters
        WHERE p.start_at < p_start AND account_id = p_account_id AND owner = '' AND grain = 'day'
            AND period_start = p.start_at AND bucket >= p_since
        UNION ALL
        SELECT meter, covered FROM usage_cycles
        WHERE p.start_at > p_start AND p.carried_since <= p_start
            AND (p.limits @? '$.*.shared' OR p.limits_before @? '$[*].limits.*.shared')
            AND account_id = p_account_id AND owner = '' AND period_start = p.start_at
        OFFSET 0) AS c
    JOIN meters AS m ON m.key = c.meter AND NOT usage_is_level(m.kind)
    WHERE p.account_id = p_account_id AND p.start_at <> p_start AND p.end_at > p_since
    GROUP BY c.meter
$$;
