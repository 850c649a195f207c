-- The least (digit 0) and the greatest (digit f) id that an event can have had before there were
-- months, by the one that it has in a month: that one has the other's first digits.
CREATE OR REPLACE FUNCTION usage_id_before(p_id uuid, p_digit text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (substr(p_id::text, 10, 4) || substr(p_id::text, 16, 3) || substr(p_id::text, 21, 3)
        || substr(p_id::text, 25) || repeat(p_digit, 10))::uuid
$$;
