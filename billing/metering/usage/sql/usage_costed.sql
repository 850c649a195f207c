-- Allotted uses with what each costs. Inlined into usage_rate_uses.
CREATE OR REPLACE FUNCTION usage_costed(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS TABLE (
    use usage_input, kind usage_metered, account_id uuid, as_of timestamptz, used_at timestamptz,
    is_late boolean, period_start timestamptz, zone text, lim jsonb, money text, paid_in text,
    price usage_price, refusal text, included numeric, rest numeric, by_plan boolean,
    is_graded boolean, total numeric)
LANGUAGE sql STABLE AS $$
    WITH allotted AS MATERIALIZED (
        SELECT a AS row, (a.use).place, (a.kind).product_id, (a.kind).meter, a.account_id,
            a.period_start, a.price, a.rest, a.by_plan, a.is_graded, a.refusal
        FROM usage_allotted(p_accounts, p_kinds, p_uses) AS a
    ), seen AS MATERIALIZED (
        -- What its product's tiers and free units have seen, and what that cost.
        SELECT n.account_id, n.period_start, n.product_id, n.meter, b.quantity, b.credits
        FROM (
            SELECT DISTINCT account_id, period_start, product_id, meter FROM allotted
            WHERE is_graded) AS n
        CROSS JOIN LATERAL (
            SELECT quantity, credits FROM usage_cycles
            WHERE account_id = n.account_id AND owner = 'p:' || n.product_id
                AND period_start = n.period_start AND meter = n.meter
            LIMIT 1) AS b
    ), reached AS (
        SELECT p.*, CASE WHEN (p.price).model = 'volume' AND NOT p.by_plan AND p.refusal IS NULL
            THEN usage_round(usage_cost((p.price).model, (p.price).unit_price,
                (p.price).package_size, (p.price).free_units, (p.price).tiers,
                p.units_before + p.rest), 'CREDIT') END AS cost_then
        FROM (
            SELECT a.*, b.credits AS cost_before,
                coalesce(b.quantity, 0) + sum(CASE WHEN a.by_plan THEN 0 ELSE a.rest END) OVER (
                    PARTITION BY a.account_id, a.product_id, a.period_start ORDER BY a.place)
                    - a.rest AS units_before
            FROM allotted AS a
            LEFT JOIN seen AS b
                ON a.is_graded AND b.account_id = a.account_id
                AND b.period_start = a.period_start AND b.product_id = a.product_id
                AND b.meter = a.meter) AS p
    )
    SELECT (r.row).*, CASE
        WHEN r.rest = 0 THEN 0
        WHEN r.by_plan THEN CASE (r.row).lim ->> 'then' WHEN 'overage'
            THEN usage_charge_units(r.rest, ((r.row).lim ->> 'price')::numeric, (r.row).money)
            ELSE 0 END
        WHEN r.product_id IS NULL OR r.refusal IS NOT NULL THEN 0
        WHEN NOT r.is_graded
            THEN usage_charge_units(r.rest, (r.price).unit_price, (r.row).paid_in)
        ELSE usage_charge((r.price).model, (r.price).unit_price, (r.price).package_size,
            (r.price).free_units, (r.price).tiers, r.units_before, r.rest,
            coalesce(greatest(r.cost_before, max(r.cost_then) OVER (
                PARTITION BY r.account_id, r.product_id, r.period_start ORDER BY r.place
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)), 0))
        END
    FROM reached AS r
$$;
