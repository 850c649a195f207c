-- Priced uses with the units each adds to its meter, after what was used before and after the uses
-- listed before it, split into what the plan's allowance includes and the rest. Of an allowance
-- that counts once for several periods (`shared`) what others of them used since the period's
-- limits were written (`carried`) counts, too.
-- Inlined into usage_rate_uses.
CREATE OR REPLACE FUNCTION usage_allotted(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS TABLE (
    use usage_input, kind usage_metered, account_id uuid, as_of timestamptz, used_at timestamptz,
    is_late boolean, period_start timestamptz, zone text, lim jsonb, money text, paid_in text,
    price usage_price, refusal text, included numeric, rest numeric, by_plan boolean,
    is_graded boolean)
LANGUAGE sql STABLE AS $$
    WITH priced AS MATERIALIZED (
        SELECT p AS row, (p.use).place, (p.use).account, (p.use).amount, (p.kind).meter,
            (p.kind).counts, p.account_id, p.period_start, p.lim, p.refusal
        FROM usage_priced(p_accounts, p_kinds, p_uses) AS p
    ), used AS MATERIALIZED (
        -- Where what a use costs depends on what its cycle has used before.
        SELECT n.account, n.period_start, n.meter, c.quantity, c.covered, c.maximum, s.since,
            s.beside
        FROM (
            SELECT account, account_id, period_start, meter, bool_or(lim ? 'shared') AS is_shared
            FROM priced WHERE lim IS NOT NULL OR usage_is_level(counts)
            GROUP BY account, account_id, period_start, meter) AS n
        LEFT JOIN LATERAL (
            SELECT quantity, covered, maximum FROM usage_cycles
            WHERE account_id = n.account_id AND owner = '' AND period_start = n.period_start
                AND meter = n.meter
            LIMIT 1) AS c ON true
        LEFT JOIN LATERAL (
            SELECT since, beside FROM usage_shared(n.account_id, n.period_start, n.meter)
            WHERE n.is_shared LIMIT 1) AS s ON true
    ), counted AS (
        SELECT
            p.row, p.place, p.account, p.meter, p.period_start, p.lim, c.since,
            -- A level that stays beyond a change of its plan counts whole.
            coalesce(CASE WHEN p.lim ?| '{before,beyond}' AND usage_is_level(p.counts)
                THEN c.quantity ELSE c.covered END, 0)
            + coalesce(c.beside - coalesce((p.lim ->> 'carried')::numeric, 0), 0) + CASE
                -- What a plan that blocks has left is not for others where it was claimed
                -- beforehand; claims of these uses themselves are counted as the uses are.
                WHEN p.lim ->> 'then' = 'block' AND NOT (p.row).is_late THEN quota_reserved(
                    p.account_id, p.meter, (p.row).as_of,
                    ARRAY(SELECT id FROM unnest(p_uses) WHERE place <= p.place))
                ELSE 0 END AS quantity_before,
            CASE
                WHEN p.refusal IS NOT NULL THEN 0
                WHEN p.counts = 'sum' THEN p.amount
                WHEN p.counts = 'count' THEN 1
                -- Of a level only what rises above its highest.
                ELSE greatest(0, p.amount - greatest(coalesce(c.maximum, 0), coalesce(
                    max(p.amount) FILTER (WHERE p.refusal IS NULL) OVER (
                        PARTITION BY p.account, p.meter, p.period_start ORDER BY p.place
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)))
            END AS delta
        FROM priced AS p
        LEFT JOIN used AS c
            ON c.account = p.account AND c.period_start = p.period_start AND c.meter = p.meter
    )
    SELECT (c.row).*, x.included, c.delta - x.included,
        c.lim IS NOT NULL AND coalesce(((c.row).kind).method, 'subscription_included')
            = 'subscription_included',
        ((c.row).price).model <> 'per_unit' OR ((c.row).price).free_units > 0
    FROM (
        SELECT counted.*, quantity_before + sum(delta) OVER (
            PARTITION BY account, meter, since IS NULL, coalesce(since, period_start)
            ORDER BY place) - delta AS used_before
        FROM counted) AS c
    CROSS JOIN LATERAL (
        SELECT usage_included_units(c.lim, ((c.row).kind).counts, c.used_before, c.delta)
        OFFSET 0) AS x(included)
$$;
