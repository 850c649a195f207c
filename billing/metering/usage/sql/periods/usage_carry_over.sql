-- The limits from `p_start` on if all use since `p_since` counts: less is included, and `carried`
-- says how much less. A level is not used up, so nothing of it is carried.
CREATE OR REPLACE FUNCTION usage_carry_over(
    p_account_id uuid, p_limits jsonb, p_since timestamptz, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    WITH used AS MATERIALIZED (
        SELECT c.meter, sum(c.quantity) AS quantity
        FROM usage_periods AS p CROSS JOIN LATERAL (
            SELECT meter, quantity FROM usage_counters
            WHERE account_id = p_account_id AND owner = '' AND grain = 'day'
                AND period_start = p.start_at AND bucket >= p_since) AS c
        JOIN meters AS m ON m.key = c.meter AND m.kind IN ('sum', 'count')
        WHERE p.account_id = p_account_id AND p.start_at < p_start AND p.end_at > p_since
        GROUP BY c.meter
    )
    SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN u.quantity IS NULL THEN l.lim
        ELSE l.lim || jsonb_build_object(
            'included', trim_scale(n.included - least(n.included, u.quantity))::text,
            'carried', trim_scale(least(n.included, u.quantity))::text) END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    CROSS JOIN LATERAL (SELECT (l.lim ->> 'included')::numeric) AS n(included)
    LEFT JOIN used AS u ON u.meter = l.meter
$$;
