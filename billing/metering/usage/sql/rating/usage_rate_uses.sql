-- Uses rated as if all of them were taken, in their order: what they cost after what was used
-- before, and after those listed before them. Reads only; expects the accounts' locks.
-- `failure` says why a record is refused whatever else happens, or that its plan allows nothing or
-- no more (NO_ENTITLEMENT, QUOTA_EXCEEDED, NOT_INCLUDED), or that nothing prices what the plan does
-- not cover (PRODUCT_PRICING_NOT_FOUND); status `processing` still needs its
-- credits.
-- The plan's allowance goes first, then the product's free units, then its price.
-- Small sets are joined by hashing; every look-up into a table is a probe of its own.
CREATE OR REPLACE FUNCTION usage_rate_uses(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS usage_rated[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT array_agg(ROW(
        c.use, c.kind, c.account_id, coalesce((c.kind).meter, ''), c.included, c.rest,
        CASE
            WHEN c.rest > 0 AND (g.goes_on OR NOT c.by_plan AND c.is_graded)
                THEN least(round(t.total / c.rest, 12), 999999999999999)
            -- Tiers have no price of one unit: such a use is refused.
            WHEN c.by_plan AND c.rest > 0 THEN CASE jsonb_typeof(c.lim -> 'price')
                WHEN 'object' THEN 0 ELSE (c.lim ->> 'price')::numeric END
            -- Of no charged unit; only some models have a price of one unit (rating/rules.py).
            ELSE CASE (c.price).model WHEN 'per_unit' THEN (c.price).unit_price
                WHEN 'package' THEN round((c.price).unit_price / (c.price).package_size, 12)
                ELSE 0 END END,
        t.total,
        CASE WHEN t.total = 0 AND NOT g.goes_on THEN 'CREDIT'
            WHEN c.by_plan THEN c.money ELSE c.paid_in END,
        CASE WHEN c.by_plan OR t.total = 0 THEN 'subscription_included'
            ELSE coalesce((c.kind).method, 'credit_consumption') END,
        CASE WHEN f.failure IS NOT NULL THEN 'failed'
            WHEN t.total = 0 AND NOT g.goes_on THEN 'completed'
            WHEN c.by_plan OR (c.kind).method = 'payment_charge' THEN 'pending'
            ELSE 'processing' END,
        c.rest > 0 AND t.total = 0 AND NOT c.by_plan AND (c.kind).product_id IS NOT NULL,
        c.is_late, f.failure, NULL, c.period_start, date_trunc('day', c.used_at, c.zone), c.used_at,
        -- A dated use counts against a limit that its meter did not have yet, too.
        c.as_of, c.lim IS NOT NULL OR (c.use).used_at IS NOT NULL, c.is_graded, NULL
    )::usage_rated ORDER BY (c.use).place)
    FROM usage_costed(p_accounts, p_kinds, p_uses) AS c
    -- Units that cost nothing more are overage too where the price goes on from one to the next.
    CROSS JOIN LATERAL (SELECT c.by_plan AND c.rest > 0 AND c.lim ->> 'then' = 'overage'
        AND jsonb_typeof(c.lim -> 'price') = 'object') AS g(goes_on)
    CROSS JOIN LATERAL (
        SELECT c.total > usage_most_cost(
            coalesce(CASE WHEN c.by_plan THEN c.money ELSE c.paid_in END, 'CREDIT'))
        ) AS s(is_too_dear)
    CROSS JOIN LATERAL (SELECT CASE WHEN s.is_too_dear THEN 0 ELSE c.total END) AS t(total)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.lim ->> 'then' = 'none' AND (c.kind).meter IS NOT NULL
                AND coalesce(c.refusal, '') IN ('', 'PRODUCT_PRICING_NOT_FOUND')
            THEN 'NO_ENTITLEMENT' ELSE coalesce(c.refusal, CASE
            WHEN s.is_too_dear THEN 'USAGE_TOO_LARGE'
            WHEN c.rest = 0 THEN NULL
            WHEN c.by_plan AND c.lim ->> 'then' = 'block' THEN 'QUOTA_EXCEEDED'
            WHEN NOT c.by_plan AND (c.kind).method = 'subscription_included' AND c.total > 0
                THEN 'NOT_INCLUDED'
            -- Credits cannot pay it: only a plan prices a feature.
            WHEN (c.kind).method IN ('wallet_deduction', 'credit_consumption')
                AND (c.price).model IS NULL
                THEN 'PRODUCT_PRICING_NOT_FOUND'
        END) END) AS f(failure)
$$;
