-- Expire a part of what is due: the holds that end first, and the lots that end before the others,
-- in the order of their times, each at its own time; a lot after the holds that end with it.
-- Expects the account's lock.
CREATE OR REPLACE FUNCTION credit_settle_part(
    p_account_id uuid, p_at timestamptz, OUT credits numeric, OUT holds integer)
LANGUAGE plpgsql AS $$
DECLARE
    rest_at timestamptz := credit_next_part(p_account_id, p_at);
    due uuid[] := ARRAY(
        SELECT h.id FROM credit_holds AS h
        WHERE h.account_id = p_account_id AND h.status = 'open' AND h.expires_at <= p_at
        ORDER BY h.expires_at, h.id LIMIT credit_part_size());
    first_at timestamptz := (SELECT h.expires_at FROM credit_holds AS h WHERE h.id = due[1]);
BEGIN
    credits := credit_return_held(p_account_id, ARRAY(
        SELECT ROW(r.hold_id, r.lot_id, r.amount, r.at)::credit_return
        FROM (
            SELECT h.id AS hold_id, p.lot_id, p.amount, h.expires_at AS at, h.id, p.position
            FROM credit_holds AS h JOIN credit_hold_lots AS p ON p.hold_id = h.id
            WHERE h.id = ANY (due)
            UNION ALL
            SELECT h.id, NULL, h.amount, h.expires_at, h.id, NULL
            FROM credit_holds AS h WHERE h.id = ANY (due)
            UNION ALL
            SELECT NULL, l.id, 0, l.expires_at, l.id, NULL
            FROM credit_lots AS l
            WHERE l.account_id = p_account_id AND l.is_open AND l.expires_at <= p_at
                AND coalesce(l.expires_at < rest_at, true)) AS r
        ORDER BY r.at, r.hold_id IS NULL, r.id, r.position NULLS LAST), 'expired');
    UPDATE credit_holds AS h SET status = 'expired', resolved_at = h.expires_at
    WHERE h.id = ANY (due);
    holds := cardinality(due);
    IF holds > 0 THEN
        PERFORM usage_settle_soon(p_account_id, first_at);
    END IF;
    UPDATE credit_balances
    SET next_expiry = coalesce(rest_at, least(
        (SELECT min(expires_at) FROM credit_lots
         WHERE account_id = p_account_id AND is_open AND expires_at > p_at),
        (SELECT min(expires_at) FROM credit_holds
         WHERE account_id = p_account_id AND status = 'open' AND expires_at > p_at)))
    WHERE account_id = p_account_id;
END;
$$;
