-- What each lot gives of an amount, in burn order; in sum less than that where the lots have less.
CREATE OR REPLACE FUNCTION credit_pick_lots(
    p_account_id uuid, p_amount numeric, p_scope text, p_paid_only boolean)
RETURNS credit_part[]
LANGUAGE plpgsql AS $$
DECLARE
    lot record;
    part credit_part;
    parts credit_part[] := '{}';
    need numeric := p_amount;
BEGIN
    FOR lot IN
        SELECT l.id, l.free FROM credit_burn_order(p_account_id) AS l
        WHERE credit_may_burn(l.scope, l.is_paid, p_scope, p_paid_only)
    LOOP
        part.lot_id := lot.id;
        part.amount := least(need, lot.free);
        parts := parts || part;
        need := need - part.amount;
        EXIT WHEN need = 0;
    END LOOP;
    RETURN parts;
END;
$$;
