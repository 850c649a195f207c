-- Allotted uses with their costs. Inlined into usage_rate_uses. A price that differs between units
-- continues from the units that its cycle has already priced: the meter's overage, or the product's
-- own units.
CREATE OR REPLACE FUNCTION usage_costed(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS TABLE (
    use usage_input, kind usage_metered, account_id uuid, as_of timestamptz, used_at timestamptz,
    is_late boolean, period_start timestamptz, zone text, lim jsonb, money text, paid_in text,
    price usage_price, refusal text, included numeric, rest numeric, by_plan boolean,
    is_graded boolean, total numeric)
LANGUAGE sql STABLE AS $$
    WITH allotted AS MATERIALIZED (
        SELECT a AS row, (a.use).place, (a.kind).meter, a.account_id, a.period_start, a.rest,
            CASE WHEN a.by_plan THEN '' ELSE 'p:' || (a.kind).product_id END AS owner,
            CASE WHEN a.by_plan THEN a.money ELSE a.paid_in END AS currency, x.price,
            a.rest > 0 AND CASE WHEN a.by_plan THEN a.lim ->> 'then' = 'overage'
                ELSE (x.price).model IS NOT NULL AND a.refusal IS NULL END AS costs,
            (x.price).model <> 'per_unit' OR (x.price).free_units > 0 AS goes_on,
            -- By a percentage; of tiers nothing.
            ((x.price).tiers ->> 'free_transactions')::bigint AS free_uses
        FROM usage_allotted(p_accounts, p_kinds, p_uses) AS a
        CROSS JOIN LATERAL (SELECT CASE WHEN a.by_plan THEN usage_price_of(a.lim -> 'price')
            ELSE a.price END OFFSET 0) AS x(price)
    ), seen AS MATERIALIZED (
        SELECT n.account_id, n.period_start, n.owner, n.meter, n.currency, b.*
        FROM (
            SELECT account_id, period_start, owner, meter, currency, max(free_uses) AS free_uses
            FROM allotted WHERE costs AND goes_on
            GROUP BY account_id, period_start, owner, meter, currency) AS n
        CROSS JOIN LATERAL usage_priced_before(
            n.account_id, n.owner, n.meter, n.period_start, n.currency, n.free_uses) AS b
    ), reached AS (
        SELECT p.*, CASE WHEN (p.price).model = 'volume' AND p.costs
            THEN usage_round(usage_cost((p.price).model, (p.price).unit_price,
                (p.price).package_size, (p.price).free_units, (p.price).tiers,
                p.units_before + p.rest), p.currency) END AS cost_then
        FROM (
            SELECT a.*, b.cost AS cost_before, coalesce(b.since, a.period_start) AS since,
                coalesce(b.uses, 0) - 1 + count(*) FILTER (WHERE a.costs AND a.goes_on) OVER (
                    PARTITION BY a.account_id, a.owner, a.meter, coalesce(b.since, a.period_start)
                    ORDER BY a.place) AS uses_before,
                coalesce(b.units, 0) - a.rest
                    + sum(CASE WHEN a.costs AND a.goes_on THEN a.rest ELSE 0 END) OVER (
                        PARTITION BY a.account_id, a.owner, a.meter,
                            coalesce(b.since, a.period_start)
                        ORDER BY a.place) AS units_before
            FROM allotted AS a
            LEFT JOIN seen AS b
                ON a.goes_on AND b.account_id = a.account_id AND b.owner = a.owner
                AND b.period_start = a.period_start AND b.meter = a.meter
                AND b.currency = a.currency) AS p
    )
    SELECT (r.row).*, CASE
        WHEN NOT r.costs THEN 0
        WHEN NOT r.goes_on THEN usage_charge_units(r.rest, (r.price).unit_price, r.currency)
        WHEN (r.price).model = 'percentage' THEN usage_charge_use(
            r.price, r.currency, r.units_before, r.rest, r.uses_before)
        ELSE usage_charge_after(r.price, r.currency, r.units_before, r.rest,
            coalesce(greatest(r.cost_before, max(r.cost_then) OVER (
                PARTITION BY r.account_id, r.owner, r.meter, r.since, r.currency
                ORDER BY r.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)), 0))
        END
    FROM reached AS r
$$;
