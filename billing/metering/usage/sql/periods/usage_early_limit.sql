-- How far ahead of its account's time a use may be recorded, because clocks differ a little
-- (docs/rules/usage.md). A cycle's uses are looked for from that long before it begins.
CREATE OR REPLACE FUNCTION usage_early_limit() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT interval '5 minutes'
$$;
