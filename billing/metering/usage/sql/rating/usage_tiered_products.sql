-- Products whose prices, including accounts' overrides, all have tiers or free units: their rated
-- units follow from the records alone. For others they follow from the prices of their time.
CREATE OR REPLACE FUNCTION usage_tiered_products(p_account_id uuid) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT product FROM product_prices
        UNION SELECT product FROM price_overrides WHERE account_id = p_account_id
        EXCEPT SELECT product FROM product_prices WHERE model = 'per_unit' AND free_units = 0
        EXCEPT SELECT product FROM price_overrides
        WHERE account_id = p_account_id AND model = 'per_unit' AND free_units = 0)
$$;
