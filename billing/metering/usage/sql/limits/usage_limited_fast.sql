-- Places of the accounts whose plan limits what some of these uses count on (`limited`); and of
-- those that have uses which only a plan pays, or may refuse, and that are not certainly within its
-- allowance, or may reach a threshold of it (`unsure`). Of claims each is taken for one by others.
CREATE OR REPLACE FUNCTION usage_limited_fast(
    p_accounts usage_account[], p_kinds usage_kind[], p_simple usage_fast_kind[],
    p_uses usage_input[], OUT limited integer[], OUT unsure integer[])
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH added AS MATERIALIZED (
        SELECT u.account, s.meter, sum(u.amount) AS amount,
            bool_or(k.product_id IS NULL OR k.method IS NOT DISTINCT FROM 'subscription_included')
                AS may_be_refused,
            bool_or(s.unit_price > 0 AND s.method = 'subscription_included') AS needs_plan
        FROM unnest(p_uses) AS u
        JOIN unnest(p_simple) AS s ON s.kind = u.kind
        JOIN unnest(p_kinds) WITH ORDINALITY AS k ON k.ordinality = u.kind
        GROUP BY u.account, s.meter
    ), found AS MATERIALIZED (
        SELECT a.place, a.account_id, a.start_at, a.as_of, d.meter, d.amount,
            a.limits -> d.meter AS lim
        FROM added AS d JOIN unnest(p_accounts) AS a ON a.place = d.account
        WHERE a.limits ? d.meter OR d.needs_plan OR d.may_be_refused AND a.limits ? '*'
    )
    SELECT coalesce(array_agg(f.place) FILTER (WHERE f.lim IS NOT NULL), '{}'),
        coalesce(array_agg(f.place) FILTER (
            WHERE (n.carried + u.used + f.amount + r.reserved <= n.included) IS NOT TRUE
                OR EXISTS (
                    SELECT FROM usage_alert_percents() AS t(percent)
                    WHERE n.included * t.percent > (n.carried + u.used) * 100
                        AND n.included * t.percent <= (n.carried + u.used + f.amount) * 100)), '{}')
    FROM found AS f
    CROSS JOIN LATERAL usage_allowance(f.lim) AS n
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity), 0) FROM usage_counters
        WHERE account_id = f.account_id AND owner = '' AND grain = 'day'
            AND period_start = f.start_at AND meter = f.meter) AS u(used)
    CROSS JOIN LATERAL (
        SELECT CASE f.lim ->> 'then' WHEN 'block'
            THEN quota_reserved(f.account_id, f.meter, f.as_of, '{}') ELSE 0 END) AS r(reserved)
$$;
