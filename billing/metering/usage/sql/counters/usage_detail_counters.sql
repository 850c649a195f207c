-- A use's counters besides its account's own day: by user, organisation, operation and model, by
-- hour, for the free units or tiers of its product, and for what the plan included of it if credits
-- paid the rest (usage_cycles). Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_detail_counters(p_use usage_countable)
RETURNS TABLE (owner text, grain text, bucket timestamptz, units numeric)
LANGUAGE sql STABLE AS $$
    SELECT 'a:' || p_use.operation, 'day', p_use.day_at, p_use.units
    WHERE p_use.operation IS NOT NULL
    UNION ALL
    SELECT 'm:' || p_use.model, 'day', p_use.day_at, p_use.units WHERE p_use.model IS NOT NULL
    UNION ALL
    SELECT 'o:' || p_use.organization_id, 'day', p_use.day_at, p_use.units
    WHERE p_use.organization_id IS NOT NULL
    UNION ALL
    SELECT 'u:' || p_use.user_id, 'day', p_use.day_at, p_use.units WHERE p_use.user_id IS NOT NULL
    UNION ALL
    SELECT '', 'hour', date_trunc('hour', p_use.occurred_at), p_use.units
    WHERE p_use.is_hourly
    UNION ALL
    SELECT 'p:' || p_use.product_id, 'day', p_use.day_at, p_use.charged_units
    -- Not what goes beyond the plan's allowance, at the plan's price or for nothing.
    WHERE p_use.is_graded AND (p_use.total_amount <> 0 OR p_use.is_free_tier)
        AND (p_use.currency = 'CREDIT' OR split_part(p_use.facet, '|', 2) = 'payment_charge')
    UNION ALL
    SELECT 'i:', 'day', p_use.day_at, p_use.units - p_use.charged_units
    WHERE p_use.currency = 'CREDIT' AND p_use.total_amount <> 0
        AND p_use.units <> p_use.charged_units
$$;
