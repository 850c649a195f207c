-- How long a use may stay unpaid before its customer is notified and a card is tried [F22].
CREATE OR REPLACE FUNCTION usage_overdue_after() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT interval '7 days'
$$;
