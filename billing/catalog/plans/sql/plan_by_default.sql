-- The plan version of accounts without a subscription; null if they have none.
CREATE OR REPLACE FUNCTION plan_by_default() RETURNS uuid
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.id FROM default_plan AS d JOIN plans AS p ON p.key = d.plan_key AND p.is_current
    WHERE d.is_only
$$;
