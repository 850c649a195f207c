-- Locked accounts with their open periods, in their order. A period that another clock began is not
-- ahead of the time of its uses; `is_due` says that it is missing, or over, as its terms may be, or
-- outdated.
CREATE OR REPLACE FUNCTION usage_read_accounts(
    p_accounts uuid[], p_periods uuid[], p_budgets text[], p_clocks timestamptz[],
    p_real_at timestamptz)
RETURNS usage_account[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT array_agg(ROW(
        a.place, a.id, t.as_of, p.start_at, date_trunc('day', t.as_of, p.zone), p.zone,
        usage_limits_in_force(p.limits, p.no_entitlement), p.currency, a.budget_mode,
        a.id = ANY (ARRAY(
            SELECT DISTINCT account_id FROM price_overrides WHERE account_id = ANY (p_accounts))),
        a.id = ANY (ARRAY(
            SELECT DISTINCT account_id FROM billing_quotas
            WHERE account_id = ANY (p_accounts) AND NOT is_derived)),
        p.end_at IS NULL OR least(p.end_at, p.terms_until) <= coalesce(a.clock_at, p_real_at)
            OR usage_is_outdated(
                p.subscription_id, p.plan_id, p.no_entitlement, (SELECT plan_by_default()))
    )::usage_account ORDER BY a.place)
    FROM unnest(p_accounts, p_periods, p_budgets, p_clocks) WITH ORDINALITY
        AS a(id, period_id, budget_mode, clock_at, place)
    LEFT JOIN usage_periods AS p ON p.id = a.period_id
    CROSS JOIN LATERAL (
        SELECT greatest(coalesce(a.clock_at, p_real_at), p.start_at)) AS t(as_of)
$$;
