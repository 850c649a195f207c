-- The period's terms until `p_at`, to store for later uses of that time; empty if its rules and
-- prices do not change, because units count by the whole cycle, and if it gave no access. `written`
-- is real time: of uses at the very instant it tells which came before.
CREATE OR REPLACE FUNCTION usage_terms_that_end(
    p_limits jsonb, p_no_entitlement text, p_after jsonb, p_no_entitlement_after text,
    p_at timestamptz)
RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN p_no_entitlement IS NULL AND (p_no_entitlement_after IS NOT NULL OR EXISTS (
            SELECT FROM jsonb_each(p_limits) AS l(meter, lim)
            FULL JOIN jsonb_each(p_after) AS a(meter, lim) ON a.meter = l.meter
            WHERE (l.lim -> 'then', l.lim -> 'price') IS DISTINCT FROM
                (a.lim -> 'then', a.lim -> 'price')))
        THEN jsonb_build_array(jsonb_build_object(
            'until', p_at, 'written', clock_timestamp(), 'limits', p_limits))
        ELSE '[]' END
$$;
