-- The sums per counter of some months' records, of cycles that begin at `p_since` or later and of
-- days that lie between `p_day` and `p_end`. Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_counted_in(
    p_account_id uuid, p_since timestamptz, p_month date, p_until date, p_day timestamptz,
    p_end timestamptz)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    quantity numeric, events bigint, maximum numeric, last_value numeric, last_at timestamptz,
    credits numeric, overage numeric, overage_total numeric)
LANGUAGE sql STABLE AS $$
    SELECT
        c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet,
        sum(c.units), count(*), max(r.usage_amount),
        (array_agg(r.usage_amount ORDER BY r.occurred_at DESC))[1], max(r.occurred_at),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0),
        coalesce(sum(r.charged_units) FILTER (WHERE r.currency <> 'CREDIT'), 0),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
    FROM (SELECT usage_tiered_products(p_account_id) AS products,
        ARRAY(SELECT key FROM meters WHERE hourly) AS hourly OFFSET 0) AS t
    CROSS JOIN billing_records AS r
    CROSS JOIN LATERAL usage_counters_of(ROW(
        usage_facet(r.service_type, r.billing_method, r.billing_status, r.currency), r.user_id,
        r.organization_id, r.operation, r.model, r.product_id, r.meter = ANY (t.hourly),
        r.product_id = ANY (t.products)
            AND (r.voids IS NULL OR NOT usage_was_by_plan(r.voids, r.month, r.currency)),
        r.included_units + r.charged_units, r.charged_units, r.total_amount, r.currency,
        r.is_free_tier, r.day_at, r.occurred_at)::usage_countable) AS c
    -- The cycle decides; the time only narrows what is read.
    WHERE r.account_id = p_account_id AND r.occurred_at >= p_since - usage_early_limit()
        AND r.kind = 'usage' AND r.period_start >= p_since
        AND r.day_at >= p_day AND r.occurred_at >= p_day - usage_early_limit()
        AND r.occurred_at < p_end
        AND r.month >= p_month AND r.month < p_until
    GROUP BY c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet
$$;
