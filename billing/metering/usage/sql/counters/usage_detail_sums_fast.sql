-- What uses of the fast path add to counters other than their accounts' own days.
CREATE OR REPLACE FUNCTION usage_detail_sums_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS SETOF usage_counter_sum
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT s.account_id, c.owner, c.grain, s.start_at, c.bucket, s.meter, '', sum(s.amount),
        count(*), max(s.amount), (array_agg(s.amount ORDER BY s.used_at DESC, s.place DESC))[1],
        max(s.used_at), sum(s.credits), 0::numeric, 0::numeric
    FROM (
        SELECT u.place, u.amount, u.user_id, u.organization_id, k.operation, k.model, k.meter,
            k.is_hourly, a.account_id, a.start_at, coalesce(u.used_at, a.as_of) AS used_at,
            usage_charge_units(u.amount, k.unit_price, 'CREDIT') AS credits,
            CASE WHEN u.used_at IS NULL THEN a.day_at
                ELSE date_trunc('day', u.used_at, a.zone) END AS day_at
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        OFFSET 0) AS s
    CROSS JOIN LATERAL usage_detail_counters(ROW(
        '', s.user_id, s.organization_id, s.operation, s.model, NULL, s.is_hourly, false, s.amount,
        s.amount, s.credits, 'CREDIT', false, s.day_at, s.used_at)::usage_countable) AS c
    GROUP BY s.account_id, c.owner, c.grain, s.start_at, c.bucket, s.meter
$$;
