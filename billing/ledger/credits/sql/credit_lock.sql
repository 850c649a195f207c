-- Show the account's rows, take its lock, and tell its time: the caller's, its clock's, or now.
-- Null when there is no such account.
CREATE OR REPLACE FUNCTION credit_lock(p_account_id uuid, p_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.accounts', p_account_id::text, true);
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN coalesce(
        p_at, (SELECT clock_at FROM accounts WHERE id = p_account_id), clock_timestamp());
END;
$$;
