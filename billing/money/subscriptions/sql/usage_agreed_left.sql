-- The limits of a subscription's short first cycle from `p_start`, less what short cycles of others
-- have used of those that were agreed with the account: each short cycle has all of them, so one
-- that follows goes on with its use for as long as the whole one would have lasted. A level is not
-- used up. Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_agreed_left(
    p_account_id uuid, p_subscription_id uuid, p_limits jsonb, p_start timestamptz,
    p_at timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    WITH agreed AS MATERIALIZED (
        SELECT one ->> 'meter' AS meter, (one ->> 'included')::numeric AS units
        FROM jsonb_array_elements(usage_agreed_limits(p_account_id, '[]', p_at)) AS a(one)
    ), short AS MATERIALIZED (
        SELECT id, cycle_start FROM subscriptions
        WHERE EXISTS (SELECT FROM agreed) AND account_id = p_account_id
            AND id <> p_subscription_id AND status = 'canceled'
            AND cycle_start < p_start AND p_start < usage_whole_until(id)
            AND NOT EXISTS (
                SELECT FROM invoices
                WHERE subscription_id = p_subscription_id AND cycle_start < p_start
                    AND status <> 'void')
    ), used AS MATERIALIZED (
        SELECT a.meter, least(max(a.units), sum(c.covered)) AS units
        FROM short AS s
        JOIN usage_periods AS p ON p.account_id = p_account_id AND p.subscription_id = s.id
            AND p.start_at >= s.cycle_start
        CROSS JOIN agreed AS a
        JOIN meters AS m ON m.key = a.meter AND NOT usage_is_level(m.kind)
        CROSS JOIN LATERAL (
            SELECT covered FROM usage_cycles
            WHERE account_id = p_account_id AND owner = '' AND period_start = p.start_at
                AND meter = a.meter
            LIMIT 1) AS c
        GROUP BY a.meter
    )
    SELECT CASE WHEN EXISTS (SELECT FROM used) THEN (
        SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN u.units IS NULL THEN l.lim
            ELSE l.lim || jsonb_build_object(
                'included', trim_scale((l.lim ->> 'included')::numeric - u.units)::text,
                'carried', trim_scale(u.units)::text) END), '{}')
        FROM jsonb_each(p_limits) AS l(meter, lim) LEFT JOIN used AS u ON u.meter = l.meter)
        ELSE p_limits END
$$;
