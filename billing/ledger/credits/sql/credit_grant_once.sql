-- Credits arrive as one lot, once per key. Debt is paid from the lot first, with its own entry; a
-- lot granted after its own end expires at once.
-- Verdicts: ok, duplicate (the first grant's answer), conflict (the key is something else),
-- no_account.
CREATE OR REPLACE FUNCTION credit_grant_once(
    p_item credit_grant_item, p_at timestamptz DEFAULT NULL,
    OUT verdict text, OUT lot_id uuid, OUT transaction_id uuid, OUT amount numeric,
    OUT balance numeric, OUT debt_paid numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_item.account_id, p_at);
    used text := (
        SELECT t.kind FROM credit_transactions AS t
        WHERE t.key = p_item.key AND t.account_id = p_item.account_id);
BEGIN
    verdict := credit_verdict(as_of, used IS NOT NULL, used = 'grant');
    IF verdict = 'ok' THEN
        PERFORM credit_add_lot(p_item, as_of);
    END IF;
    SELECT l.id, t.id, l.amount, coalesce(d.balance_after, t.balance_after), coalesce(-d.amount, 0)
    INTO lot_id, transaction_id, amount, balance, debt_paid
    FROM credit_lots AS l
    JOIN credit_transactions AS t ON t.key = l.grant_key
    LEFT JOIN credit_transactions AS d ON d.key = p_item.key || '/debt'
    WHERE l.grant_key = p_item.key;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
