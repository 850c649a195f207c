-- Counters of the days from one on that differ from their records, in one snapshot; `p_write`
-- corrects them and requires the account's lock. Counters are looked up by their records: those
-- without records, and hours, are found when the whole cycle is compared.
CREATE OR REPLACE FUNCTION usage_recount_days(
    p_account_id uuid, p_day timestamptz, p_write boolean)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    kept_quantity numeric, true_quantity numeric, kept_events bigint, true_events bigint)
LANGUAGE sql
AS $$
    WITH wrong AS MATERIALIZED (
        SELECT w.owner, w.grain, w.period_start, w.bucket, w.meter, w.facet, w.quantity, w.events,
            w.maximum, w.last_value, w.last_at, w.credits, w.overage, w.overage_total,
            c.quantity AS kept_quantity, c.events AS kept_events
        FROM usage_counted_in(p_account_id, '-infinity', '-infinity', 'infinity', p_day) AS w
        LEFT JOIN usage_counters AS c
            ON c.account_id = p_account_id AND c.owner = w.owner AND c.grain = w.grain
            AND c.period_start = w.period_start AND c.bucket = w.bucket AND c.meter = w.meter
            AND c.facet = w.facet
        WHERE w.grain = 'day'
            AND (w.quantity, w.events, w.credits, w.overage, w.overage_total)
            IS DISTINCT FROM (c.quantity, c.events, c.credits, c.overage, c.overage_total)
    ), written AS (
        INSERT INTO usage_counters (
            account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total)
        SELECT p_account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total
        FROM wrong WHERE p_write
        ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
            quantity = excluded.quantity, events = excluded.events, maximum = excluded.maximum,
            last_value = excluded.last_value, last_at = excluded.last_at,
            credits = excluded.credits, overage = excluded.overage,
            overage_total = excluded.overage_total
    )
    SELECT owner, grain, period_start, bucket, meter, facet, kept_quantity, quantity, kept_events,
        events
    FROM wrong ORDER BY grain, period_start, bucket, owner, meter, facet
$$;
