-- The limit on a kind of use: its meter's, else `*` if only a plan would pay it. Inlined where it
-- is called.
CREATE OR REPLACE FUNCTION usage_limit_of(p_limits jsonb, p_kind usage_metered) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_limits -> p_kind.meter,
        CASE WHEN p_kind.product_id IS NULL OR p_kind.method = 'subscription_included'
            THEN p_limits -> '*' END)
$$;
