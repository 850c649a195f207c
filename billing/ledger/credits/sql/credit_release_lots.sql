-- Give back what a hold keeps beyond `p_keep` credits, counted from its first lot.
-- What is free again may pay unpaid uses. Returns how much expired.
CREATE OR REPLACE FUNCTION credit_release_lots(
    p_account_id uuid, p_hold_id uuid, p_keep numeric, p_at timestamptz)
RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    expired numeric := credit_return_held(p_account_id, ARRAY(
        SELECT ROW(p_hold_id, h.lot_id, least(h.amount, h.reach - p_keep), p_at)::credit_return
        FROM (
            SELECT lot_id, position, amount, sum(amount) OVER (ORDER BY position) AS reach
            FROM credit_hold_lots
            WHERE hold_id = p_hold_id) AS h
        WHERE h.reach > p_keep
        ORDER BY h.position), 'released');
BEGIN
    PERFORM usage_settle_soon(p_account_id, p_at);
    RETURN expired;
END;
$$;
