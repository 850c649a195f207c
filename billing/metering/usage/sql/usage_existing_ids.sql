-- Which of these uses have a record: one scan of the key's index for the sorted list. Left to
-- itself the planner may read whole accounts instead.
CREATE OR REPLACE FUNCTION usage_existing_ids(p_uses usage_input[]) RETURNS uuid[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT ARRAY(
        SELECT id FROM billing_records
        WHERE id = ANY (ARRAY(SELECT u.id FROM unnest(p_uses) AS u)))
$$;
