-- The meter of each kind of use: the product's, else the one named like the feature or service,
-- else `operations` for an operation with a price at any time. A product has its own service,
-- whatever a caller says, because revenue is counted by it.
CREATE OR REPLACE FUNCTION usage_metered_kinds(p_kinds usage_kind[]) RETURNS SETOF usage_metered
LANGUAGE sql
SET enable_nestloop = on
AS $$
    SELECT
        k.ordinality::integer, k.product_id, coalesce(p.service_type, k.service_type),
        k.feature_type, k.operation, k.model, k.method, k.defers, coalesce(m.key, o.meter),
        coalesce(m.kind, CASE WHEN o.meter IS NOT NULL THEN 'sum' END), coalesce(m.hourly, false)
    FROM unnest(p_kinds) WITH ORDINALITY AS k
    LEFT JOIN LATERAL (
        SELECT meter, service_type FROM products
        WHERE key = k.product_id AND is_active LIMIT 1) AS p ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN k.product_id IS NULL AND k.feature_type IS NULL AND k.service_type IS NULL
            AND credit_cost_ever(k.operation) THEN 'operations' END) AS o(meter)
    LEFT JOIN LATERAL (
        SELECT key, kind, hourly FROM meters
        WHERE is_active AND CASE
            WHEN k.product_id IS NOT NULL THEN key = p.meter
            WHEN k.feature_type IS NOT NULL
                THEN key = k.feature_type OR feature_types ? k.feature_type
            WHEN k.service_type IS NOT NULL THEN service_types ? k.service_type
            ELSE key = o.meter END
        ORDER BY key = k.feature_type DESC NULLS LAST, key
        LIMIT 1) AS m ON true
$$;
