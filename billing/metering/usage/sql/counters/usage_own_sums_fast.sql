-- What uses of the fast path add to their accounts' own days. Kinds that share a counter are
-- grouped by the number of the first, not by texts.
CREATE OR REPLACE FUNCTION usage_own_sums_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS SETOF usage_counter_sum
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT a.account_id, '', 'day', a.start_at, s.day_at, k.meter, k.facet, s.quantity, s.events,
        s.maximum, s.last_value, s.last_at, s.credits, 0::numeric, 0::numeric
    FROM (
        SELECT u.account, k.counter, CASE WHEN u.used_at IS NULL THEN a.day_at
                ELSE date_trunc('day', u.used_at, a.zone) END AS day_at,
            sum(u.amount) AS quantity, count(*) AS events, max(u.amount) AS maximum,
            (array_agg(u.amount ORDER BY u.used_at DESC, u.place DESC))[1] AS last_value,
            max(coalesce(u.used_at, a.as_of)) AS last_at,
            sum(usage_charge_units(u.amount, k.unit_price, 'CREDIT')) AS credits
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        GROUP BY 1, 2, 3) AS s
    JOIN unnest(p_accounts) AS a ON a.place = s.account
    JOIN unnest(p_kinds) AS k ON k.kind = s.counter
$$;
