-- What paid debts of the account after an entry, the first of it first, up to so much: entries with
-- the lot of each, less what voids gave back of them before (`debts` of their detail). What a void
-- canceled is nothing that was paid.
CREATE OR REPLACE FUNCTION credit_paid_since(p_account_id uuid, p_entry uuid, p_amount numeric)
RETURNS TABLE (paid_by uuid, lot_id uuid, amount numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    WITH since AS MATERIALIZED (
        SELECT t.id, t.kind, t.seq, t.detail
        FROM credit_transactions AS e JOIN credit_transactions AS t
            ON t.account_id = e.account_id AND (t.at, t.seq) > (e.at, e.seq)
        WHERE e.id = p_entry AND t.account_id = p_account_id AND t.kind IN ('debt', 'void'))
    SELECT p.id, p.lot_id, least(p.room, p_amount - p.reach + p.room)
    FROM (
        SELECT s.id, o.lot_id, r.room, sum(r.room) OVER (ORDER BY s.seq) AS reach
        FROM since AS s
        JOIN credit_transaction_lots AS o ON o.transaction_id = s.id
        JOIN credit_lots AS l ON l.id = o.lot_id
        LEFT JOIN (
            SELECT d.key, sum(d.value::numeric) AS amount
            FROM since AS v CROSS JOIN LATERAL jsonb_each_text(v.detail -> 'debts') AS d
            WHERE v.kind = 'void' GROUP BY d.key) AS b ON b.key = public_id('ctx', s.id)
        CROSS JOIN LATERAL (SELECT -o.amount - coalesce(b.amount, 0) AS room) AS r
        WHERE s.kind = 'debt' AND l.kind <> 'refund' AND r.room > 0) AS p
    WHERE p.reach - p.room < p_amount
$$;
