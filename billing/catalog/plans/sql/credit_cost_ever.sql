-- True if an operation has a price in credits, or had one: a late use may be of that time.
CREATE OR REPLACE FUNCTION credit_cost_ever(p_operation text) RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT EXISTS (SELECT FROM credit_cost_versions(p_operation) WHERE cost IS NOT NULL)
$$;
