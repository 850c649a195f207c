-- Which of these uses have a record. One probe each: with a list of ids the planner may read whole
-- accounts instead.
CREATE OR REPLACE FUNCTION usage_existing_ids(p_uses usage_input[]) RETURNS uuid[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT ARRAY(
        SELECT u.id FROM unnest(p_uses) AS u
        CROSS JOIN LATERAL (SELECT 1 FROM billing_records WHERE id = u.id LIMIT 1) AS b)
$$;
