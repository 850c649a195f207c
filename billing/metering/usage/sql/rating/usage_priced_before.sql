-- What a cycle has already priced of a meter (owner '') or product: units, their cost in the
-- currency, and uses, counted only up to the free ones. Cycles with the same `since` share these.
-- Inlined into usage_costed.
CREATE OR REPLACE FUNCTION usage_priced_before(
    p_account_id uuid, p_owner text, p_meter text, p_period_start timestamptz, p_currency text,
    p_free_uses bigint)
RETURNS TABLE (since timestamptz, units numeric, cost numeric, uses bigint)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(CASE WHEN p_owner <> '' THEN c.carried_since END, p_period_start), b.units,
        CASE p_currency WHEN 'CREDIT' THEN b.credits ELSE b.overage_total END,
        CASE WHEN p_free_uses > 0 THEN usage_uses_before(
            p_account_id, p_owner, p_meter, p_period_start, c.carried_since, p_free_uses)
            ELSE 0 END
    FROM (SELECT (SELECT carried_since FROM usage_periods
        WHERE account_id = p_account_id AND start_at = p_period_start) AS carried_since) AS c
    CROSS JOIN LATERAL (
        SELECT overage AS units, credits, overage_total FROM usage_cycles
        WHERE p_owner = '' AND account_id = p_account_id AND owner = ''
            AND period_start = p_period_start AND meter = p_meter
        UNION ALL
        SELECT u.quantity, u.credits, u.overage_total
        FROM usage_product_units(
            p_account_id, p_owner, p_meter, p_period_start, c.carried_since) AS u
        WHERE p_owner <> ''
        LIMIT 1) AS b
$$;
