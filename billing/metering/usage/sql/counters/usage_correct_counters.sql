-- Set these counters, whose days lie between `p_day` and `p_end`, to the sums of their records; one
-- without records is deleted. Expects the account's lock, so that no use comes between.
CREATE OR REPLACE FUNCTION usage_correct_counters(
    p_account_id uuid, p_counters jsonb, p_day timestamptz, p_end timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH counted AS MATERIALIZED (
        SELECT owner, grain, period_start, bucket, meter, facet, w.quantity, w.events, w.maximum,
            w.last_value, w.last_at, w.credits, w.overage, w.overage_total
        FROM jsonb_to_recordset(p_counters) AS x(
            owner text, grain text, period_start timestamptz, bucket timestamptz, meter text,
            facet text)
        LEFT JOIN usage_counted_between(p_account_id, '-infinity', p_day, p_end) AS w
            USING (owner, grain, period_start, bucket, meter, facet)
    ), gone AS (
        DELETE FROM usage_counters AS u USING counted AS x
        WHERE x.events IS NULL AND u.account_id = p_account_id
            AND (u.owner, u.grain, u.period_start, u.bucket, u.meter, u.facet)
                = (x.owner, x.grain, x.period_start, x.bucket, x.meter, x.facet)
    )
    INSERT INTO usage_counters (
        account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
        maximum, last_value, last_at, credits, overage, overage_total)
    SELECT p_account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
        maximum, last_value, last_at, credits, overage, overage_total
    FROM counted WHERE events IS NOT NULL
    ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
        quantity = excluded.quantity, events = excluded.events, maximum = excluded.maximum,
        last_value = excluded.last_value, last_at = excluded.last_at,
        credits = excluded.credits, overage = excluded.overage,
        overage_total = excluded.overage_total
$$;
