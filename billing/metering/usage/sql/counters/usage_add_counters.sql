-- Add to counters; return the growth of the accounts' own use. Every account is locked, so rows
-- need no order. Its plan is kept, also where its caller plans anew.
CREATE OR REPLACE FUNCTION usage_add_counters(p_sums usage_counter_sum[])
RETURNS SETOF usage_growth
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    WITH added AS (
        INSERT INTO usage_counters AS c (
            account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total)
        SELECT account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total
        FROM unnest(p_sums)
        ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
            quantity = c.quantity + excluded.quantity,
            events = c.events + excluded.events,
            maximum = greatest(c.maximum, excluded.maximum),
            last_value = CASE WHEN excluded.last_at >= c.last_at
                THEN excluded.last_value ELSE c.last_value END,
            last_at = greatest(c.last_at, excluded.last_at),
            credits = c.credits + excluded.credits,
            overage = c.overage + excluded.overage,
            overage_total = c.overage_total + excluded.overage_total
        RETURNING c.account_id, c.owner, c.grain, c.period_start, c.meter,
            new.quantity - coalesce(old.quantity, 0) AS added
    )
    SELECT account_id, period_start, meter, sum(added)
    FROM added
    WHERE owner = '' AND grain = 'day'
    GROUP BY account_id, period_start, meter
$$;
