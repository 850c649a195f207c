-- Notify of thresholds that the budgets of these accounts, which are shown, have reached: one
-- account at a time, only where a new one is reached.
CREATE OR REPLACE FUNCTION usage_notify_budgets(p_accounts usage_account[], p_but integer[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    one record;
BEGIN
    FOR one IN SELECT a.account_id, a.zone, a.start_at, a.as_of FROM unnest(p_accounts) AS a
        WHERE a.budget_mode IS NOT NULL AND a.place <> ALL (p_but)
            AND EXISTS (SELECT FROM budget_reached(a.account_id, a.zone, a.start_at, a.as_of))
        ORDER BY a.place
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM budget_notify(one.account_id, one.zone, one.start_at, one.as_of);
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
END;
$$;
