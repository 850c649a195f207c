-- Whether a period no longer matches its account's terms: the default plan changed, or the previous
-- release began it. Inlined where it is called.
CREATE OR REPLACE FUNCTION usage_is_outdated(
    p_subscription_id uuid, p_plan_id uuid, p_no_entitlement text, p_default_plan uuid)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT num_nonnulls(p_plan_id, p_no_entitlement) = 0
        OR (p_subscription_id IS NULL AND p_no_entitlement IS DISTINCT FROM 'incomplete'
            AND p_plan_id IS DISTINCT FROM p_default_plan)
$$;
