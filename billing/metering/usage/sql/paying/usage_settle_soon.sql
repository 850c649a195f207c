-- Credits became available: if the account has unpaid uses, have its matter pay what they cover,
-- from the oldest on. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_settle_soon(p_account_id uuid, p_at timestamptz) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM unpaid_uses WHERE account_id = p_account_id) THEN
        RETURN;
    END IF;
    INSERT INTO unpaid_retries AS w (account_id, id, asked_at) VALUES (p_account_id, uuidv7(), p_at)
    ON CONFLICT (account_id) DO UPDATE SET from_at = NULL, from_id = NULL
    WHERE w.from_at IS NOT NULL;
    PERFORM account_watch(p_account_id, p_at, p_at);
END;
$$;
