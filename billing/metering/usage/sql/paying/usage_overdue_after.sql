-- How long a use may stay unpaid until its customer is told and a card is tried [F22].
CREATE OR REPLACE FUNCTION usage_overdue_after() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT interval '7 days'
$$;
