-- Notify of what the budgets of these accounts have reached, one account at a time.
CREATE OR REPLACE FUNCTION usage_notify_budgets(p_accounts usage_account[], p_but integer[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    one record;
BEGIN
    FOR one IN SELECT account_id, zone, start_at, as_of FROM unnest(p_accounts)
        WHERE budget_mode IS NOT NULL AND place <> ALL (p_but)
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM budget_notify(one.account_id, one.zone, one.start_at, one.as_of);
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
END;
$$;
