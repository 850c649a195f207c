-- The lot of a grant, its entry, and the debt that it pays; what is left may pay unpaid uses.
-- Expects the account's lock.
CREATE OR REPLACE FUNCTION credit_add_lot(p_item credit_grant_item, p_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    new_lot uuid := uuidv7();
BEGIN
    -- Born empty: credit_post alone moves `remaining`.
    INSERT INTO credit_lots (
        id, account_id, kind, scope, priority, is_paid, amount, remaining, expires_at, is_open,
        grant_key, granted_seq, created_at)
    SELECT
        new_lot, p_item.account_id, p_item.kind, p_item.scope, p_item.priority, p_item.is_paid,
        p_item.amount, 0, p_item.expires_at, false, p_item.key, b.seq + 1,
        greatest(b.last_at, p_at)
    FROM credit_balances AS b WHERE b.account_id = p_item.account_id;
    PERFORM credit_post(
        ROW(p_item.account_id, 'grant', p_item.key, NULL, p_item.reason, p_item.subject,
            p_item.detail, p_at),
        ARRAY[ROW(new_lot, p_item.amount)::credit_part]);

    UPDATE credit_balances SET next_expiry = least(next_expiry, p_item.expires_at)
    WHERE account_id = p_item.account_id;
    PERFORM credit_pay_debt(
        p_item.account_id, ROW(new_lot, p_item.amount)::credit_part, p_item.key, p_item.subject,
        p_at);
    IF p_item.expires_at <= p_at THEN
        PERFORM credit_settle(p_item.account_id, p_at);
    END IF;
END;
$$;
