-- Credits have come to a lot: up to so many of them pay what is owed, with an entry of their own;
-- what is left may pay unpaid uses. Expects the account's lock.
CREATE OR REPLACE FUNCTION credit_pay_debt(
    p_account_id uuid, p_part credit_part, p_key text, p_subject text, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    owed numeric := (
        SELECT least(b.debt, p_part.amount) FROM credit_balances AS b
        WHERE b.account_id = p_account_id);
BEGIN
    IF owed > 0 THEN
        PERFORM credit_post(
            ROW(p_account_id, 'debt', p_key || '/debt', NULL, 'debt paid', p_subject, NULL, p_at),
            ARRAY[ROW(p_part.lot_id, -owed)::credit_part]);
    END IF;
    PERFORM usage_settle_soon(p_account_id, p_at);
END;
$$;
