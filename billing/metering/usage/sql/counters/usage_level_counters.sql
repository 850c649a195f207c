-- A level has one value, however its readings were paid: all counters of its day store the last
-- reading.
CREATE OR REPLACE FUNCTION usage_level_counters(p_records usage_rated[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    UPDATE usage_counters AS c SET last_value = r.last_value, last_at = r.last_at
    FROM (
        SELECT account_id, period_start, day_at, meter,
            (array_agg((use).amount ORDER BY occurred_at DESC, (use).place DESC))[1]
                AS last_value,
            max(occurred_at) AS last_at
        FROM unnest(p_records)
        WHERE usage_is_level((kind).counts)
        GROUP BY account_id, period_start, day_at, meter) AS r
    WHERE c.account_id = r.account_id AND c.owner = '' AND c.grain = 'day'
        AND c.period_start = r.period_start AND c.bucket = r.day_at AND c.meter = r.meter
        AND c.last_at <= r.last_at
$$;
