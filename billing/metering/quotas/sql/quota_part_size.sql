-- The claims that one statement releases at most: less than a second of work.
CREATE OR REPLACE FUNCTION quota_part_size() RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT 2000
$$;
