-- An account's balance row as it is stored, shown to whoever names the account: a read that is its
-- own transaction needs no other statement around it. Nulls when there is no such account.
CREATE OR REPLACE FUNCTION credit_balance(p_account_id uuid) RETURNS credit_balances
LANGUAGE plpgsql AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    -- Assigned, not performed: an expression costs less than a statement.
    shows text := set_config('app.accounts', p_account_id::text, true);
    mine credit_balances;
BEGIN
    SELECT * INTO mine FROM credit_balances WHERE account_id = p_account_id;
    shows := set_config('app.accounts', shown, true);
    RETURN mine;
END;
$$;
