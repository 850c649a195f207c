-- Kinds as counted when the plan's allowance covers their uses: without a payment.
CREATE OR REPLACE FUNCTION usage_included_kinds(p_kinds usage_fast_kind[])
RETURNS usage_fast_kind[]
LANGUAGE sql STABLE AS $$
    SELECT array_agg(ROW(
        k.kind, k.product_id, k.service_type, k.feature_type, k.operation, k.model,
        'subscription_included', k.meter, 0, k.is_hourly, k.facet, k.counter)::usage_fast_kind
        ORDER BY k.kind)
    FROM (
        SELECT s.kind, s.product_id, s.service_type, s.feature_type, s.operation, s.model, s.meter,
            s.is_hourly, f.facet, min(s.kind) OVER (PARTITION BY s.meter, f.facet) AS counter
        FROM unnest(p_kinds) AS s
        CROSS JOIN LATERAL usage_facet(
            s.service_type, 'subscription_included', 'completed', 'CREDIT') AS f(facet)) AS k
$$;
