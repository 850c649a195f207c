-- Counters that differ from the records, in one snapshot. Hours are compared only from when, and
-- while, the meter counts them; the highest use only of a whole day, because one whose payment
-- changed stays the highest of the counter that it left.
CREATE OR REPLACE FUNCTION usage_differing_counters(p_account_id uuid, p_since timestamptz)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    kept_quantity numeric, true_quantity numeric, kept_events bigint, true_events bigint)
LANGUAGE sql STABLE
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    WITH compared AS (
        SELECT owner, grain, period_start, bucket, meter, facet, w.quantity, w.events,
            c.quantity AS kept_quantity, c.events AS kept_events,
            (coalesce(w.quantity, 0), coalesce(w.events, 0), coalesce(w.credits, 0),
                coalesce(w.overage, 0), coalesce(w.overage_total, 0))
            <> (coalesce(c.quantity, 0), coalesce(c.events, 0), coalesce(c.credits, 0),
                coalesce(c.overage, 0), coalesce(c.overage_total, 0)) AS has_other_sums,
            w.maximum IS DISTINCT FROM c.maximum AND owner = '' AND grain = 'day'
                AND max(w.maximum) OVER day <> max(c.maximum) OVER day AS is_otherwise_highest
        FROM usage_counted_between(p_account_id, p_since, '-infinity', 'infinity') AS w
        FULL JOIN (
            SELECT u.owner, u.grain, u.period_start, u.bucket, u.meter, u.facet, u.quantity,
                u.events, u.maximum, u.credits, u.overage, u.overage_total
            FROM usage_counters AS u
            WHERE u.account_id = p_account_id AND u.period_start >= p_since
                AND (u.owner NOT LIKE 'p:%'
                    OR substr(u.owner, 3) = ANY (usage_tiered_products(p_account_id)))
        ) AS c USING (owner, grain, period_start, bucket, meter, facet)
        WINDOW day AS (PARTITION BY owner, grain, period_start, bucket, meter)
    )
    SELECT owner, grain, period_start, bucket, meter, facet, kept_quantity, quantity, kept_events,
        events
    FROM compared
    WHERE (has_other_sums OR is_otherwise_highest) AND (grain <> 'hour' OR EXISTS (
        SELECT FROM meters AS m
        WHERE m.key = meter AND m.hourly
            AND bucket >= coalesce(m.hourly_since + interval '1 hour', '-infinity')))
    ORDER BY grain, period_start, bucket, owner, meter, facet
$$;
