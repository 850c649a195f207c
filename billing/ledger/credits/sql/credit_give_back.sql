-- Credits that an entry of the ledger spent go back to its lots, to those first that last longest;
-- p_before are entries that gave back some of them before. What no lot had given was owed: it goes
-- back to the lots that paid debts since (credit_paid_since), and what is still owed of it comes as
-- a lot of its own, which pays that. What else came back pays what is owed, first what ends first;
-- what is left may pay unpaid uses. Expects the account's lock.
CREATE OR REPLACE FUNCTION credit_give_back(
    p_account_id uuid, p_entry uuid, p_before uuid[], p_amount numeric, p_key text, p_subject text,
    p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    entry uuid;
    new_lot uuid := uuidv7();
    part credit_part;
    given credit_part[] := ARRAY(
        SELECT ROW(lot_id, least(room, p_amount - reach + room))::credit_part
        FROM (
            SELECT lot_id, room, sum(room) OVER (
                ORDER BY is_over, is_paid DESC, expires_at DESC NULLS FIRST, granted_seq DESC
                ) AS reach
            FROM (
                SELECT p.lot_id, coalesce(l.expires_at <= p_at, false) AS is_over, l.is_paid,
                    l.expires_at, l.granted_seq, -p.amount - coalesce((
                        SELECT sum(b.amount) FROM credit_transaction_lots AS b
                        WHERE b.transaction_id = ANY (p_before) AND b.lot_id = p.lot_id), 0)
                        AS room
                FROM credit_transaction_lots AS p JOIN credit_lots AS l ON l.id = p.lot_id
                WHERE p.transaction_id = p_entry) AS given) AS lots
        WHERE room > 0 AND reach - room < p_amount);
    owing numeric := p_amount - credit_sum(given);
    debts jsonb;
    parts credit_part[];
BEGIN
    SELECT jsonb_object_agg(public_id('ctx', s.paid_by), public_decimal(s.amount)),
        given || array_agg(ROW(s.lot_id, s.amount)::credit_part)
    INTO debts, given
    FROM credit_paid_since(p_account_id, p_entry, owing) AS s WHERE owing > 0;
    owing := p_amount - credit_sum(given);
    parts := ARRAY(
        SELECT ROW(l.id, sum(g.amount))::credit_part
        FROM unnest(given) AS g JOIN credit_lots AS l ON l.id = g.lot_id
        GROUP BY l.id ORDER BY l.is_paid, l.expires_at, l.granted_seq);
    IF owing > 0 THEN
        INSERT INTO credit_lots (
            id, account_id, kind, priority, is_paid, amount, remaining, is_open, grant_key,
            granted_seq, created_at)
        SELECT new_lot, p_account_id, 'refund', 100, false, owing, 0, false, p_key, b.seq + 1,
            greatest(b.last_at, p_at)
        FROM credit_balances AS b WHERE b.account_id = p_account_id;
        parts := ROW(new_lot, owing)::credit_part || parts;
    END IF;
    entry := credit_post(
        ROW(p_account_id, 'void', p_key, NULL, 'usage taken back', p_subject,
            jsonb_strip_nulls(jsonb_build_object(
                'transaction_id', public_id('ctx', p_entry), 'debts', debts)), p_at),
        parts);
    FOREACH part IN ARRAY parts LOOP
        PERFORM credit_settle_returned(p_account_id, part, p_key, p_subject, p_at);
    END LOOP;
    RETURN entry;
END;
$$;
