-- A hold that was decided: its row, its parts, and what lots and balance have set aside. Whatever
-- ends later than something else is seen to when the matter looks at what ends first.
CREATE OR REPLACE FUNCTION credit_hold_write_v2(
    p_item credit_hold_item_v2, p_hold credit_hold_answer, p_parts credit_part[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    before timestamptz;
BEGIN
    INSERT INTO credit_holds (
        id, account_id, status, amount, key, request_hash, scope, paid_only, reason, subject,
        created_at, expires_at, made_by)
    VALUES (
        p_hold.hold_id, p_item.account_id, 'open', p_item.amount, p_item.key, p_item.hash,
        p_item.scope, p_item.paid_only, p_item.reason, p_item.subject, p_hold.created_at,
        p_hold.expires_at, p_item.made_by);
    INSERT INTO credit_hold_lots (hold_id, position, lot_id, account_id, amount)
    SELECT p_hold.hold_id, p.ordinality, p.lot_id, p_item.account_id, p.amount
    FROM unnest(p_parts) WITH ORDINALITY AS p;
    UPDATE credit_lots AS l SET held = l.held + p.amount
    FROM unnest(p_parts) AS p WHERE l.id = p.lot_id;
    UPDATE credit_balances AS b
    SET held = b.held + p_item.amount, next_expiry = least(b.next_expiry, p_hold.expires_at)
    WHERE b.account_id = p_item.account_id
    RETURNING old.next_expiry INTO before;
    IF coalesce(before > p_hold.expires_at, true) THEN
        PERFORM account_watch(p_item.account_id, p_hold.expires_at, p_hold.created_at);
    END IF;
END;
$$;
