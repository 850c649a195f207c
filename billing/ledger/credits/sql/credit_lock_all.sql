-- Take the locks of many accounts, in the one order everybody keeps.
CREATE OR REPLACE FUNCTION credit_lock_all(p_account_ids uuid[]) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_account_ids, ','), true);
    PERFORM 1 FROM credit_balances
    WHERE account_id = ANY (p_account_ids)
    ORDER BY account_id
    FOR NO KEY UPDATE;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
