-- The lowest (digit 0) and highest (digit f) id that an event can have had before records had
-- months, from its id in a month: both have the same first digits.
CREATE OR REPLACE FUNCTION usage_id_before(p_id uuid, p_digit text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (substr(p_id::text, 10, 4) || substr(p_id::text, 16, 3) || substr(p_id::text, 21, 3)
        || substr(p_id::text, 25) || repeat(p_digit, 10))::uuid
$$;
