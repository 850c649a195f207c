-- True if a product's price at that time had tiers or free units for an account: its override, else
-- the product's. The currency of a free use is unknown: any (null).
CREATE OR REPLACE FUNCTION usage_had_tiers(
    p_account_id uuid, p_product text, p_currency text, p_at timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT coalesce(bool_or(t.goes_on), false)
    FROM (
        SELECT DISTINCT ON (p.currency) p.model <> 'per_unit' OR p.free_units > 0 AS goes_on
        FROM (
            SELECT 1 AS rank, currency, model, free_units, effective_from, effective_to
            FROM price_overrides WHERE account_id = p_account_id AND product = p_product
            UNION ALL
            SELECT 2, currency, model, free_units, effective_from, effective_to
            FROM product_prices WHERE product = p_product) AS p
        WHERE p.currency = coalesce(p_currency, p.currency)
            AND p.effective_from <= p_at AND p_at < coalesce(p.effective_to, 'infinity')
        ORDER BY p.currency, p.rank, p.effective_from DESC) AS t
$$;
