-- The month of records from before records had months (rules.FIRST_MONTH).
CREATE OR REPLACE FUNCTION usage_first_month() RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT DATE '1970-01-01'
$$;
