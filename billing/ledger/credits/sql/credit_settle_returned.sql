-- Of credits that have just come back to a lot: what a clawback could not have before is taken, and
-- the rest expires where the lot's time is over. Expects the account's lock.
CREATE OR REPLACE FUNCTION credit_settle_returned(
    p_account_id uuid, p_part credit_part, p_key text, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    key text := p_key || '/' || public_id('lot', p_part.lot_id);
    lot record;
    claim numeric;
BEGIN
    SELECT l.lost, l.expires_at INTO lot FROM credit_lots AS l WHERE l.id = p_part.lot_id;
    claim := least(lot.lost, p_part.amount);
    IF claim > 0 THEN
        PERFORM credit_post(
            ROW(p_account_id, 'clawback', key || '/clawback', NULL, 'returned',
                public_id('lot', p_part.lot_id), NULL, p_at),
            ARRAY[ROW(p_part.lot_id, -claim)::credit_part]);
        UPDATE credit_lots AS l SET lost = l.lost - claim, clawed = l.clawed + claim
        WHERE l.id = p_part.lot_id;
    END IF;
    IF lot.expires_at <= p_at AND p_part.amount > claim THEN
        PERFORM credit_expire_part(
            p_account_id, p_part.lot_id, p_part.amount - claim, key || '/expire', p_at,
            'returned');
    ELSE
        UPDATE credit_balances SET next_expiry = least(next_expiry, lot.expires_at)
        WHERE account_id = p_account_id;
    END IF;
END;
$$;
