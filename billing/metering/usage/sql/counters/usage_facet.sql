-- The facet of an account's own day: its uses by service, method, status and currency. Inlined
-- where it is called.
CREATE OR REPLACE FUNCTION usage_facet(
    p_service text, p_method text, p_status text, p_currency text)
RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT concat_ws('|', coalesce(p_service, ''), p_method, p_status, p_currency)
$$;
