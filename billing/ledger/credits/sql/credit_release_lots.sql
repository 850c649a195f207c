-- Give back what a hold keeps beyond `p_keep` credits, counted from its first lot. Of each part,
-- first what a clawback waits for is taken, then what belongs to an expired lot expires.
-- What is free again may pay unpaid uses. Returns how much expired.
CREATE OR REPLACE FUNCTION credit_release_lots(
    p_account_id uuid, p_hold_id uuid, p_keep numeric, p_at timestamptz)
RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    part record;
    lot record;
    key text;
    claim numeric;
    expired numeric := 0;
BEGIN
    FOR part IN
        SELECT h.lot_id, least(h.amount, h.reach - p_keep) AS amount
        FROM (
            SELECT lot_id, position, amount, sum(amount) OVER (ORDER BY position) AS reach
            FROM credit_hold_lots
            WHERE hold_id = p_hold_id) AS h
        WHERE h.reach > p_keep
        ORDER BY h.position
    LOOP
        key := public_id('hld', p_hold_id) || '/' || public_id('lot', part.lot_id);
        SELECT l.claimed, l.expires_at INTO lot FROM credit_lots AS l WHERE l.id = part.lot_id;
        claim := least(lot.claimed, part.amount);
        UPDATE credit_lots
        SET held = held - part.amount, claimed = claimed - claim, clawed = clawed + claim
        WHERE id = part.lot_id;
        UPDATE credit_balances SET held = held - part.amount WHERE account_id = p_account_id;
        IF claim > 0 THEN
            PERFORM credit_post(
                ROW(p_account_id, 'clawback', key || '/clawback', NULL, 'released',
                    public_id('hld', p_hold_id), NULL, p_at),
                ARRAY[ROW(part.lot_id, -claim)::credit_part]);
        END IF;
        IF lot.expires_at <= p_at AND part.amount > claim THEN
            PERFORM credit_expire_part(
                p_account_id, part.lot_id, part.amount - claim, key || '/expire', p_at, 'released');
            expired := expired + part.amount - claim;
        END IF;
    END LOOP;
    PERFORM usage_settle_soon(p_account_id, p_at);
    RETURN expired;
END;
$$;
