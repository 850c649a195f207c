-- Counters of the days from one on that differ from their records, in one snapshot. They are looked
-- up by their records: those without records, and hours, are found when the whole cycle is
-- compared.
CREATE OR REPLACE FUNCTION usage_recount_days(p_account_id uuid, p_day timestamptz)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    kept_quantity numeric, true_quantity numeric, kept_events bigint, true_events bigint)
LANGUAGE sql STABLE AS $$
    SELECT w.owner, w.grain, w.period_start, w.bucket, w.meter, w.facet, c.quantity, w.quantity,
        c.events, w.events
    FROM usage_counted_in(
        p_account_id, '-infinity', '-infinity', 'infinity', p_day, 'infinity') AS w
    LEFT JOIN usage_counters AS c
        ON c.account_id = p_account_id AND c.owner = w.owner AND c.grain = w.grain
        AND c.period_start = w.period_start AND c.bucket = w.bucket AND c.meter = w.meter
        AND c.facet = w.facet
    WHERE w.grain = 'day'
        AND (w.quantity, w.events, w.credits, w.overage, w.overage_total)
        IS DISTINCT FROM (c.quantity, c.events, c.credits, c.overage, c.overage_total)
    ORDER BY w.grain, w.period_start, w.bucket, w.owner, w.meter, w.facet
$$;
