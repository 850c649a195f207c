-- credit_lock, then expire what is due by that time: the first line of every verb on one account.
CREATE OR REPLACE FUNCTION credit_open(p_account_id uuid, p_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
    as_of timestamptz := credit_lock(p_account_id, p_at);
BEGIN
    PERFORM 1 FROM credit_balances
    WHERE account_id = p_account_id AND next_expiry <= as_of;
    IF FOUND THEN
        PERFORM credit_settle(p_account_id, as_of);
    END IF;
    RETURN as_of;
END;
$$;
