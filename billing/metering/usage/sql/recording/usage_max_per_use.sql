-- How much one use of a meter may report. `p_max` is what its row says; `operations` may have none.
CREATE OR REPLACE FUNCTION usage_max_per_use(p_max numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(p_max, 1000000000)
$$;
