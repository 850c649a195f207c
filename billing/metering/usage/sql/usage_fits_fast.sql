-- The part of the fast path's precondition (usage_record_fast) that is told by the amounts: none of
-- these uses is more than one use of any of their meters may report.
CREATE OR REPLACE FUNCTION usage_fits_fast(p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT NOT EXISTS (
        SELECT FROM unnest(p_kinds) AS k
        WHERE (SELECT max_per_use FROM meters WHERE key = k.meter)
            < (SELECT max(amount) FROM unnest(p_uses)))
$$;
