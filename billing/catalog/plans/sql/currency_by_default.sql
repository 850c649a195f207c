-- The currency of an account that has not paid in any yet; DEFAULT_CURRENCY is the same.
CREATE OR REPLACE FUNCTION currency_by_default() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 'USD'
$$;
