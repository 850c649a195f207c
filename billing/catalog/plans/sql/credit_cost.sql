-- The credit cost of one operation at an instant (credit_cost_versions). Null: it has no price.
CREATE OR REPLACE FUNCTION credit_cost(p_operation text, p_at timestamptz) RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT cost FROM credit_cost_versions(p_operation)
    WHERE effective_from <= p_at AND p_at < effective_to
$$;
