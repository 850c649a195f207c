-- What a period gave until `p_at`, to be kept for uses of that time that come later; empty where
-- its rules and prices stay as they are, for units count by the whole cycle, and where it gave
-- nothing.
CREATE OR REPLACE FUNCTION usage_terms_that_end(
    p_limits jsonb, p_no_entitlement text, p_after jsonb, p_no_entitlement_after text,
    p_at timestamptz)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_no_entitlement IS NULL AND (p_no_entitlement_after IS NOT NULL OR EXISTS (
            SELECT FROM jsonb_each(p_limits) AS l(meter, lim)
            WHERE (l.lim -> 'then', l.lim -> 'price') IS DISTINCT FROM
                (p_after -> l.meter -> 'then', p_after -> l.meter -> 'price')))
        THEN jsonb_build_array(jsonb_build_object('until', p_at, 'limits', p_limits))
        ELSE '[]' END
$$;
