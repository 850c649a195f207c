-- The kinds that may take the fast path, with their prices and meters: the meter is a sum, and a
-- use costs nothing, or credits by its account's own price, else by the product's that holds at
-- `p_at`, one per unit without free units. An operation without a product has no price at any time.
-- With a price and method `subscription_included` only a plan's allowance may cover it.
CREATE OR REPLACE FUNCTION usage_simple_kinds(
    p_kinds usage_kind[], p_own usage_own_price[], p_at timestamptz)
RETURNS usage_fast_kind[]
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(array_agg(ROW(
        f.kind, f.product_id, f.service_type, f.feature_type, f.operation, f.model, f.method,
        f.meter, f.unit_price, f.is_hourly, f.facet, f.counter)::usage_fast_kind
        ORDER BY f.kind), '{}')
    FROM (
        SELECT p.kind, p.product_id, p.service_type, p.feature_type, p.operation, p.model,
            p.method, p.meter, p.unit_price, p.is_hourly, c.facet,
            min(p.kind) OVER (PARTITION BY p.meter, c.facet) AS counter
        FROM (
            SELECT k.kind, k.product_id, k.service_type, k.feature_type, k.operation, k.model,
                k.meter, k.is_hourly, coalesce(t.unit_price, 0) AS unit_price,
                CASE WHEN coalesce(t.unit_price, 0) = 0 THEN 'subscription_included'
                    ELSE coalesce(k.method, 'credit_consumption') END AS method
            FROM usage_metered_kinds(p_kinds) AS k
            LEFT JOIN LATERAL (
                SELECT unit_price, model = 'per_unit' AND free_units = 0 AS is_simple
                FROM product_prices
                WHERE product = k.product_id AND currency = 'CREDIT'
                    AND effective_from <= p_at AND p_at < coalesce(effective_to, 'infinity')
                LIMIT 1) AS l ON true
            LEFT JOIN unnest(p_own) AS o ON o.kind = k.kind
            CROSS JOIN LATERAL (
                SELECT CASE WHEN o.kind IS NULL THEN l.unit_price ELSE o.unit_price END
                    AS unit_price,
                    CASE WHEN o.kind IS NULL THEN l.is_simple ELSE o.unit_price IS NOT NULL END
                    AS is_simple) AS t
            WHERE k.counts = 'sum' AND coalesce(k.method, '') <> 'payment_charge'
                AND CASE WHEN k.product_id IS NULL
                    THEN coalesce(k.method, 'subscription_included') = 'subscription_included'
                        AND (k.operation IS NULL OR NOT credit_cost_ever(k.operation))
                    ELSE t.is_simple END) AS p
        CROSS JOIN LATERAL usage_facet(
            p.service_type, p.method, 'completed', 'CREDIT') AS c(facet)) AS f
$$;
