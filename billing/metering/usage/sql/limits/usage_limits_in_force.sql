-- The limits of a period as applied to uses. If its plan gives no access, `*` stands for every use
-- that only a plan would pay. Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_limits_in_force(p_limits jsonb, p_no_entitlement text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_no_entitlement IS NULL THEN p_limits
        ELSE '{"*": {"included": "0", "then": "none", "price": "0"}}' END
$$;
