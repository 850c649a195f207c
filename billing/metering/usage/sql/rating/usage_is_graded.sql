-- True if this one price, by tier, package or volume, determines the total beyond the plan in a
-- cycle: its units depend on each other, and may be priced again when some are voided.
CREATE OR REPLACE FUNCTION usage_is_graded(
    p_account_id uuid, p_period_start timestamptz, p_meter text, p_price jsonb)
RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce((
        -- Uses under a volume price come to the greatest total on their way.
        SELECT c.overage_total BETWEEN k.cost - 0.000001 AND 0.000001 + CASE (x.price).model
            WHEN 'volume' THEN usage_highest((x.price).free_units, (x.price).tiers, c.overage)
            ELSE k.cost END
        FROM (SELECT usage_price_of(p_price)) AS x(price)
        CROSS JOIN (
            SELECT overage, overage_total FROM usage_cycles
            WHERE account_id = p_account_id AND owner = '' AND period_start = p_period_start
                AND meter = p_meter
            LIMIT 1) AS c
        CROSS JOIN LATERAL (SELECT usage_cost((x.price).model, (x.price).unit_price,
            (x.price).package_size, (x.price).free_units, (x.price).tiers, c.overage)) AS k(cost)
        -- By a percentage each use has a price of its own.
        WHERE jsonb_typeof(p_price) = 'object' AND p_price ->> 'model' <> 'percentage'), false)
$$;
