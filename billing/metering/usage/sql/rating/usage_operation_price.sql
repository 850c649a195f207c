-- The credit price of a use with an operation and no product [F5], even if the caller wants the
-- plan to pay, so that a use no plan covers is refused. A card pays only for products.
CREATE OR REPLACE FUNCTION usage_operation_price(p_kind usage_metered) RETURNS usage_price
LANGUAGE sql STABLE AS $$
    SELECT ROW('per_unit', c.cost, 1, 0, NULL)::usage_price
    FROM credit_cost(CASE
        WHEN p_kind.product_id IS NULL AND p_kind.method IS DISTINCT FROM 'payment_charge'
        THEN p_kind.operation END) AS c(cost)
    WHERE c.cost IS NOT NULL
$$;
