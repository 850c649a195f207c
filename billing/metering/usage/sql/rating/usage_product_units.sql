-- Units that a product's free units or tiers have rated in the cycle that begins at `p_start`, and
-- their cost. If use since `p_since` counts (usage_plan_period), other cycles' too: subscribing
-- again gives no new free units. Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_product_units(
    p_account_id uuid, p_owner text, p_meter text, p_start timestamptz, p_since timestamptz)
RETURNS TABLE (quantity numeric, credits numeric, overage_total numeric)
LANGUAGE sql STABLE AS $$
    SELECT sum(c.quantity), sum(c.credits), sum(c.overage_total)
    FROM usage_counters AS c
    WHERE c.account_id = p_account_id AND c.owner = p_owner AND c.grain = 'day'
        AND c.meter = p_meter AND c.bucket >= coalesce(p_since, '-infinity')
        AND c.period_start = ANY (p_start || ARRAY(
            SELECT start_at FROM usage_periods
            WHERE account_id = p_account_id AND end_at > p_since
                AND (start_at < p_start OR carried_since = p_since)))
$$;
