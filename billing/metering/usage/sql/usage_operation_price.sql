-- The price of a use that names an operation and no product, where credits may pay it [F5].
CREATE OR REPLACE FUNCTION usage_operation_price(p_kind usage_metered) RETURNS usage_price
LANGUAGE sql STABLE AS $$
    SELECT ROW('per_unit', c.cost, 1, 0, NULL)::usage_price
    FROM credit_cost(CASE
        WHEN p_kind.product_id IS NULL AND (p_kind.method IS NULL
            OR p_kind.method IN ('wallet_deduction', 'credit_consumption'))
        THEN p_kind.operation END) AS c(cost)
    WHERE c.cost IS NOT NULL
$$;
