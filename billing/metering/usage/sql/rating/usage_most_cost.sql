-- What one use may cost: more is too large for any ledger or invoice.
CREATE OR REPLACE FUNCTION usage_most_cost(p_currency text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_currency = 'CREDIT' THEN 1000000000000::numeric ELSE 1000000000 END
$$;
