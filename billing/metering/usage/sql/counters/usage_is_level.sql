-- Whether a meter of this kind is a level, which is read and not used up: LEVELS, for SQL.
CREATE OR REPLACE FUNCTION usage_is_level(p_kind text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_kind IN ('max', 'last')
$$;
