-- Captures may have freed credits of their holds: accounts with unpaid uses settle them. Expects
-- all these accounts' locks; takes their matters in order, as who receives events does.
CREATE OR REPLACE FUNCTION usage_settle_freed(p_accounts uuid[]) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    PERFORM usage_settle_soon(b.account_id, b.last_at)
    FROM (
        SELECT c.account_id, c.last_at FROM credit_balances AS c
        WHERE c.account_id IN (SELECT u.account_id FROM unpaid_uses AS u
            WHERE u.account_id = ANY (p_accounts))
        ORDER BY c.account_id) AS b;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
