-- Lock accounts, listed in the order of their ids, for the rest of the transaction; return each
-- one's open period, budget mode and clock; no clocks if no account has one.
CREATE OR REPLACE FUNCTION usage_lock(
    p_accounts uuid[], OUT periods uuid[], OUT budgets text[], OUT clocks timestamptz[])
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    locked uuid[];
BEGIN
    SELECT array_agg(b.account_id), array_agg(b.period_id), array_agg(b.budget_mode)
    INTO locked, periods, budgets
    FROM (
        SELECT account_id, period_id, budget_mode FROM credit_balances
        WHERE account_id = ANY (p_accounts)
        ORDER BY account_id
        FOR NO KEY UPDATE) AS b;
    IF locked IS DISTINCT FROM p_accounts THEN
        RAISE EXCEPTION 'accounts are to be listed in order, and to be there';
    END IF;
    IF EXISTS (SELECT 1 FROM accounts WHERE id = ANY (p_accounts) AND clock_at IS NOT NULL) THEN
        clocks := ARRAY(
            SELECT (SELECT clock_at FROM accounts WHERE id = a.id)
            FROM unnest(p_accounts) WITH ORDINALITY AS a(id, place)
            ORDER BY a.place);
    END IF;
END;
$$;
