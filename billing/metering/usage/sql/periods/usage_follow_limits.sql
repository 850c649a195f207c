-- Update the open period to the limits agreed at an instant, and note when each agreement begins or
-- ends next; return the first of these. Takes the account's lock.
CREATE OR REPLACE FUNCTION usage_follow_limits(p_account_id uuid, p_at timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM usage_open_period(p_account_id, p_at);
    UPDATE limit_overrides
    SET due_at = CASE WHEN effective_from > p_at THEN effective_from
        WHEN effective_to > p_at THEN effective_to END
    WHERE account_id = p_account_id AND (due_at IS NOT NULL OR effective_to IS NULL
        OR effective_to > p_at);
    RETURN (
        SELECT min(due_at) FROM limit_overrides
        WHERE account_id = p_account_id AND due_at IS NOT NULL);
END;
$$;
