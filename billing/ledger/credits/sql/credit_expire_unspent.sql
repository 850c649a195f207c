-- A lot's time is over: what is neither spent nor held expires. Returns how much. A lot that got
-- credits back afterwards has time again, and so expires again: each expiry has a key of its own.
CREATE OR REPLACE FUNCTION credit_expire_unspent(
    p_account_id uuid, p_lot_id uuid, p_at timestamptz, p_reason text)
RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    unspent numeric := (SELECT l.remaining - l.held FROM credit_lots AS l WHERE l.id = p_lot_id);
    own_key text := public_id('lot', p_lot_id) || '/expire';
BEGIN
    IF unspent > 0 THEN
        IF EXISTS (SELECT FROM credit_transactions AS t WHERE t.key = own_key) THEN
            own_key := own_key || '/' || (
                SELECT b.seq + 1 FROM credit_balances AS b WHERE b.account_id = p_account_id);
        END IF;
        PERFORM credit_expire_part(p_account_id, p_lot_id, unspent, own_key, p_at, p_reason);
    END IF;
    RETURN unspent;
END;
$$;
