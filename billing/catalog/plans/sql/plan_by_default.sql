-- The version of a plan that an account without a subscription has; null where it has none.
CREATE OR REPLACE FUNCTION plan_by_default() RETURNS uuid
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.id FROM default_plan AS d JOIN plans AS p ON p.key = d.plan_key AND p.is_current
    WHERE d.is_only
$$;
