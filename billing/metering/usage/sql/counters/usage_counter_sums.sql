-- The sums that records add to counters.
CREATE OR REPLACE FUNCTION usage_counter_sums(p_records usage_rated[])
RETURNS SETOF usage_counter_sum
LANGUAGE sql STABLE AS $$
    SELECT
        r.account_id, c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet,
        sum(c.units), count(*), max((r.use).amount),
        (array_agg((r.use).amount ORDER BY r.occurred_at DESC, (r.use).place DESC))[1],
        max(r.occurred_at),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0),
        coalesce(sum(r.charged_units) FILTER (WHERE r.currency <> 'CREDIT'), 0),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
    FROM unnest(p_records) AS r
    CROSS JOIN LATERAL usage_counters_of(ROW(
        usage_facet((r.kind).service_type, r.billing_method, r.billing_status, r.currency),
        (r.use).user_id, (r.use).organization_id, (r.kind).operation, (r.kind).model,
        (r.kind).product_id, (r.kind).is_hourly, r.is_graded, r.included_units + r.charged_units,
        r.charged_units, r.total_amount, r.currency, r.is_free_tier, r.day_at,
        r.occurred_at)::usage_countable) AS c
    GROUP BY r.account_id, c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet
$$;
