-- Add existing records to their counters, or (sign -1) subtract them. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_count_again(
    p_account_id uuid, p_records uuid[], p_sign integer)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
    SELECT usage_add_counters(array_agg(ROW(
        p_account_id, s.owner, s.grain, s.period_start, s.bucket, s.meter, s.facet,
        p_sign * s.units, p_sign * s.events, greatest(0, s.maximum), greatest(0, s.maximum),
        'epoch', p_sign * s.credits, p_sign * s.overage,
        p_sign * s.overage_total)::usage_counter_sum))
    FROM (
        SELECT c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet, sum(c.units) AS units,
            count(*) AS events, max(r.usage_amount) AS maximum,
            coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0) AS credits,
            coalesce(sum(r.charged_units) FILTER (WHERE r.currency <> 'CREDIT'), 0) AS overage,
            coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
                AS overage_total
        FROM (
            SELECT r.*,
                -- As it was when it was counted first, if it was: by its hour, the price of its
                -- time.
                r.meter IN (SELECT key FROM meters WHERE hourly) AND EXISTS (
                    SELECT FROM usage_counters AS h
                    WHERE h.account_id = p_account_id AND h.owner = '' AND h.grain = 'hour'
                        AND h.period_start = r.period_start AND h.meter = r.meter
                        AND h.bucket = date_trunc('hour', r.occurred_at)) AS is_hourly,
                (r.voids IS NULL OR NOT usage_was_by_plan(r.voids, r.month, r.currency))
                AND EXISTS (
                    SELECT FROM usage_counters AS p
                    WHERE p.account_id = p_account_id AND p.owner = 'p:' || r.product_id
                        AND p.grain = 'day' AND p.period_start = r.period_start
                        AND p.bucket = r.day_at)
                AND usage_had_tiers(
                    p_account_id, r.product_id, CASE WHEN NOT r.is_free_tier THEN r.currency END,
                    r.occurred_at) AS is_graded
            FROM billing_records AS r
            WHERE r.id = ANY (p_records)
                AND r.month = ANY (usage_months_of(p_records))
                AND r.account_id = p_account_id
            OFFSET 0) AS r
        CROSS JOIN LATERAL usage_counters_of(ROW(
            usage_facet(r.service_type, r.billing_method, r.billing_status, r.currency),
            r.user_id, r.organization_id, r.operation, r.model, r.product_id, r.is_hourly,
            r.is_graded, r.included_units + r.charged_units, r.charged_units, r.total_amount,
            r.currency, r.is_free_tier, r.day_at, r.occurred_at)::usage_countable) AS c
        GROUP BY c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet) AS s
$$;
