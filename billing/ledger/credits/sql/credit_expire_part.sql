-- Part of a lot expires unspent: its entry, and the event that says so.
CREATE OR REPLACE FUNCTION credit_expire_part(
    p_account_id uuid, p_lot_id uuid, p_amount numeric, p_key text, p_at timestamptz, p_reason text)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM credit_post(
        ROW(p_account_id, 'expire', p_key, NULL, p_reason, public_id('lot', p_lot_id), NULL, p_at),
        ARRAY[ROW(p_lot_id, -p_amount)::credit_part]);
    PERFORM credit_publish(
        p_account_id, 'credits.expired',
        jsonb_build_object(
            'lot_id', public_id('lot', p_lot_id),
            'credits', public_decimal(p_amount),
            'balance', public_decimal(b.balance),
            'reason', p_reason),
        p_at)
    FROM credit_balances AS b WHERE b.account_id = p_account_id;
END;
$$;
