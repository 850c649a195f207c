-- The limits of the period from `p_start` if all use since `p_since` counts (`shared`): less is
-- included, and `carried` says how much less. Limits that are carried over already are again, by
-- what is used now. A level is not used up, so nothing of it is carried.
CREATE OR REPLACE FUNCTION usage_carry_over(
    p_account_id uuid, p_limits jsonb, p_since timestamptz, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN m.key IS NULL THEN l.lim
        ELSE l.lim || '{"shared": "true"}' || CASE WHEN b.used = n.carried THEN '{}'
            ELSE jsonb_build_object(
                'included', trim_scale(n.included - least(n.included, b.used))::text,
                'carried', trim_scale(least(n.included, b.used))::text) END END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    CROSS JOIN LATERAL usage_allowance(l.lim) AS n
    LEFT JOIN meters AS m ON m.key = l.meter AND NOT usage_is_level(m.kind)
    LEFT JOIN usage_used_beside(p_account_id, p_since, p_start) AS u ON u.meter = l.meter
    CROSS JOIN LATERAL (SELECT coalesce(u.quantity, 0)) AS b(used)
$$;
