-- The captured part of a hold leaves its lots; what a clawback waited for in them is lost with it.
CREATE OR REPLACE FUNCTION credit_spend_held(
    p_hold_id uuid, p_amount numeric, p_posting credit_posting)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    parts credit_part[] := ARRAY(
        SELECT ROW(h.lot_id, least(h.amount, p_amount - h.before))::credit_part
        FROM (
            SELECT lot_id, position, amount,
                sum(amount) OVER (ORDER BY position) - amount AS before
            FROM credit_hold_lots
            WHERE hold_id = p_hold_id) AS h
        WHERE h.before < p_amount
        ORDER BY h.position);
BEGIN
    UPDATE credit_balances SET held = held - p_amount WHERE account_id = p_posting.account_id;
    UPDATE credit_lots AS l
    SET held = l.held - p.amount,
        claimed = least(l.claimed, l.held - p.amount),
        lost = l.lost + greatest(l.claimed - (l.held - p.amount), 0)
    FROM unnest(parts) AS p
    WHERE l.id = p.lot_id;
    PERFORM credit_post(
        p_posting, ARRAY(SELECT ROW(p.lot_id, -p.amount)::credit_part FROM unnest(parts) AS p));
END;
$$;
