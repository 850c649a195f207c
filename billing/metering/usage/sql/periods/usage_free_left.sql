-- The limits from `p_start` on without what earlier cycles gave for nothing beyond them since
-- `p_since`: a cycle that cuts one short brings it no second time. What was paid for counts for
-- nothing here: the cycle's own tiers begin anew.
CREATE OR REPLACE FUNCTION usage_free_left(
    p_account_id uuid, p_limits jsonb, p_since timestamptz, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(l.meter, CASE
        WHEN u.meter IS NULL OR u.units + u.uses = 0 THEN l.lim
        ELSE jsonb_set(l.lim, '{price}', usage_price_without_free(
            l.lim -> 'price', u.units, u.uses)) END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    LEFT JOIN usage_free_used(p_account_id, p_since, p_start) AS u
        ON u.meter = l.meter AND jsonb_typeof(l.lim -> 'price') = 'object'
$$;
