-- Of credits that have just come back to a lot: what a clawback could not have before is taken. The
-- rest expires where the lot's time is over; else it pays what is owed. Expects the account's lock.
CREATE OR REPLACE FUNCTION credit_settle_returned(
    p_account_id uuid, p_part credit_part, p_key text, p_subject text,
    p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    key text := p_key || '/' || public_id('lot', p_part.lot_id);
    lot record;
    claim numeric;
    rest numeric;
BEGIN
    SELECT l.lost, l.expires_at INTO lot FROM credit_lots AS l WHERE l.id = p_part.lot_id;
    claim := least(lot.lost, p_part.amount);
    rest := p_part.amount - claim;
    IF claim > 0 THEN
        PERFORM credit_post(
            ROW(p_account_id, 'clawback', key || '/clawback', NULL, 'returned',
                public_id('lot', p_part.lot_id), NULL, p_at),
            ARRAY[ROW(p_part.lot_id, -claim)::credit_part]);
        UPDATE credit_lots AS l SET lost = l.lost - claim, clawed = l.clawed + claim
        WHERE l.id = p_part.lot_id;
    END IF;
    IF rest > 0 AND lot.expires_at <= p_at THEN
        PERFORM credit_expire_part(
            p_account_id, p_part.lot_id, rest, key || '/expire', p_at, 'returned');
    ELSIF rest > 0 THEN
        UPDATE credit_balances SET next_expiry = least(next_expiry, lot.expires_at)
        WHERE account_id = p_account_id;
        PERFORM credit_pay_debt(
            p_account_id, ROW(p_part.lot_id, rest)::credit_part, key, p_subject, p_at);
    END IF;
END;
$$;
