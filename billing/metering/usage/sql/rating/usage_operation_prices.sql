-- The credit prices of a use with an operation and no product, each with its time [F5], even if the
-- caller wants the plan to pay, so that a use no plan covers is refused. A card pays only for
-- products.
CREATE OR REPLACE FUNCTION usage_operation_prices(p_kind usage_metered)
RETURNS TABLE (price usage_price, effective_from timestamptz, effective_to timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT ROW('per_unit', c.cost, 1, 0, NULL)::usage_price, c.effective_from, c.effective_to
    FROM credit_cost_versions(CASE
        WHEN p_kind.product_id IS NULL AND p_kind.method IS DISTINCT FROM 'payment_charge'
        THEN p_kind.operation END) AS c
    WHERE c.cost IS NOT NULL
$$;
