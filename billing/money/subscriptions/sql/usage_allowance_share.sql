-- The share of its cycle by which the time of a subscription counts as used: what is left of all
-- that it includes is left for the rest, at the rate at which it includes it now. So of a plan
-- that came within the cycle its own time counts. The largest of its meters is told, at most 1. It
-- is measured against the plan, with seats, add-ons and what was agreed, also while its status
-- gives nothing of it. Add-ons count where the plan has no limit, too: they are left of a plan of
-- before. A level is not used up, so none counts. Parts are rounded to whole units, so where
-- nothing was used nothing counts as used. What is claimed was allowed, and counts as used: it is
-- recorded later. Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_allowance_share(p_subscription_id uuid, p_at timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(max(greatest(0, least(1, CASE WHEN used.units = 0 THEN 0
        ELSE 1 - (given.units - used.units) / given.rate END))), 0)
    FROM subscriptions AS s
    JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (
        SELECT each.meter, sum(each.units) AS units, sum(each.rate) AS rate
        FROM (
            SELECT lim ->> 'meter' AS meter, (lim ->> 'included')::numeric AS units, 0 AS rate
            FROM jsonb_array_elements(usage_agreed_limits(
                s.account_id, usage_own_limits(p.limits, p.seats, s.id, s.cycle_start))) AS l(lim)
            UNION ALL
            SELECT key, value::numeric, 0
            FROM jsonb_each_text(usage_add_on_units(s.id, s.current_period_end, s.cycle_start))
            UNION ALL
            SELECT r.meter, 0, r.units FROM usage_cycle_rates(s.id) AS r
        ) AS each
        GROUP BY each.meter) AS given
    JOIN meters AS m ON m.key = given.meter AND NOT usage_is_level(m.kind)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(c.units), 0)
            + quota_reserved(s.account_id, m.key, p_at, '{}') AS units
        FROM usage_periods AS u CROSS JOIN LATERAL (
            SELECT covered AS units FROM usage_cycles
            WHERE account_id = s.account_id AND owner = '' AND period_start = u.start_at
                AND meter = m.key
            LIMIT 1) AS c
        WHERE u.account_id = s.account_id AND u.subscription_id = s.id
            AND u.start_at >= s.cycle_start) AS used
    WHERE s.id = p_subscription_id AND given.rate > 0
$$;
