-- The records' sums per counter, of cycles that begin at `p_since` or later and of days that lie
-- between `p_day` and `p_end`, including archived months. Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_counted_between(
    p_account_id uuid, p_since timestamptz, p_day timestamptz, p_end timestamptz)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    quantity numeric, events bigint, maximum numeric, last_value numeric, last_at timestamptz,
    credits numeric, overage numeric, overage_total numeric)
LANGUAGE sql STABLE AS $$
    SELECT
        c.owner, c.grain, c.period_start, c.bucket, c.meter, c.facet, sum(c.quantity),
        sum(c.events)::bigint, max(c.maximum),
        (array_agg(c.last_value ORDER BY c.last_at DESC))[1], max(c.last_at), sum(c.credits),
        sum(c.overage), sum(c.overage_total)
    FROM (
        SELECT
            h.owner, h.grain, h.period_start, h.bucket, h.meter, h.facet, h.quantity, h.events,
            h.maximum, h.last_value, h.last_at, h.credits, h.overage, h.overage_total
        FROM usage_counted_in(
            p_account_id, p_since, '-infinity', 'infinity', p_day, p_end) AS h
        UNION ALL
        SELECT
            s.owner, s.grain, s.period_start, s.bucket, s.meter, s.facet, s.quantity, s.events,
            s.maximum, s.last_value, s.last_at, s.credits, s.overage, s.overage_total
        FROM sealed_counters AS s
        WHERE s.account_id = p_account_id AND s.period_start >= p_since
            AND s.bucket >= p_day AND s.bucket < p_end
            AND (s.owner NOT LIKE 'p:%'
                OR substr(s.owner, 3) = ANY (usage_tiered_products(p_account_id)))) AS c
    GROUP BY c.owner, c.grain, c.period_start, c.bucket, c.meter, c.facet
$$;
