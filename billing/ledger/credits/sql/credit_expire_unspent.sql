-- A lot's time is over: what is neither spent nor held expires. Returns how much.
CREATE OR REPLACE FUNCTION credit_expire_unspent(
    p_account_id uuid, p_lot_id uuid, p_at timestamptz, p_reason text)
RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    unspent numeric := (SELECT l.remaining - l.held FROM credit_lots AS l WHERE l.id = p_lot_id);
BEGIN
    IF unspent > 0 THEN
        PERFORM credit_expire_part(
            p_account_id, p_lot_id, unspent, public_id('lot', p_lot_id) || '/expire', p_at,
            p_reason);
    END IF;
    RETURN unspent;
END;
$$;
