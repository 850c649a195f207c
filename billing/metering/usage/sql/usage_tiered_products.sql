-- Products whose every price in credits, an account's own included, has tiers or free units: what
-- those have seen follows from the records alone. Of others it follows from the prices of their
-- time.
CREATE OR REPLACE FUNCTION usage_tiered_products(p_account_id uuid) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT product FROM product_prices WHERE currency = 'CREDIT'
        UNION SELECT product FROM price_overrides
        WHERE account_id = p_account_id AND currency = 'CREDIT'
        EXCEPT SELECT product FROM product_prices
        WHERE currency = 'CREDIT' AND model = 'per_unit' AND free_units = 0
        EXCEPT SELECT product FROM price_overrides
        WHERE account_id = p_account_id AND currency = 'CREDIT' AND model = 'per_unit'
            AND free_units = 0)
$$;
