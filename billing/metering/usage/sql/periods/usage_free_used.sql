-- What the cycles before `p_start` gave for nothing beyond each meter's limit since `p_since`:
-- units, and uses by a percentage. A level is not used up, so nothing of it counts.
CREATE OR REPLACE FUNCTION usage_free_used(
    p_account_id uuid, p_since timestamptz, p_start timestamptz)
RETURNS TABLE (meter text, units numeric, uses bigint)
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT c.meter, sum(f.units), sum(f.uses)::bigint
    FROM usage_periods AS p
    CROSS JOIN LATERAL (
        SELECT meter, sum(overage) AS units,
            coalesce(sum(overage) FILTER (WHERE bucket < p_since), 0) AS before
        FROM usage_counters
        WHERE account_id = p_account_id AND owner = '' AND grain = 'day'
            AND period_start = p.start_at AND split_part(facet, '|', 2) <> 'payment_charge'
        GROUP BY meter HAVING sum(overage) > 0 OFFSET 0) AS c
    JOIN meters AS m ON m.key = c.meter AND NOT usage_is_level(m.kind)
    -- Of several prices that the cycle had, the one that gave most.
    CROSS JOIN LATERAL (
        SELECT coalesce(max(usage_given_free(price, c.units)
                - usage_given_free(price, c.before)), 0) AS units,
            max((price -> 'percentage' ->> 'free_transactions')::bigint) AS most
        FROM usage_overage_prices(p_account_id, p.start_at, c.meter)) AS g
    CROSS JOIN LATERAL (
        SELECT g.units, count(*) AS uses FROM (
            SELECT FROM billing_records AS r
            WHERE r.account_id = p_account_id AND r.meter = c.meter AND r.kind = 'usage'
                AND r.period_start = p.start_at AND r.charged_units > 0 AND r.total_amount = 0
                AND r.billing_status <> 'refunded' AND r.currency <> 'CREDIT'
                AND r.billing_method = 'subscription_included' AND g.most > 0
                AND r.occurred_at >= greatest(p.start_at - usage_early_limit(), p_since)
            LIMIT coalesce(g.most, 0)) AS seen) AS f
    WHERE p.account_id = p_account_id AND p.start_at < p_start AND p.end_at > p_since
    GROUP BY c.meter
$$;
