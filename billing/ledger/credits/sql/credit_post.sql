-- One ledger row with its split over lots, the lots and the balance moved with it. Amounts of parts
-- are signed. A row is never earlier than the one before it. Expects the account's lock.
CREATE OR REPLACE FUNCTION credit_post(p_posting credit_posting, p_parts credit_part[])
RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    total numeric := credit_sum(p_parts);
    -- What is given back of a use counts as never used.
    spent numeric := CASE WHEN p_posting.kind IN ('debit', 'capture', 'void') THEN -total
        ELSE 0 END;
    -- A grant that pays what was owed: the balance and the debt go down together.
    owed numeric := CASE WHEN p_posting.kind = 'debt' THEN total ELSE 0 END;
    row_id uuid := uuidv7();
BEGIN
    UPDATE credit_lots AS l
    SET remaining = l.remaining + p.amount, is_open = l.remaining + p.amount > 0
    FROM unnest(p_parts) AS p
    WHERE l.id = p.lot_id;

    WITH moved AS (
        UPDATE credit_balances
        SET balance = balance + total, debt = debt + owed, used = used + spent, seq = seq + 1,
            last_at = greatest(last_at, p_posting.at)
        WHERE account_id = p_posting.account_id
        RETURNING balance, used, seq, last_at
    )
    INSERT INTO credit_transactions (
        id, account_id, seq, kind, amount, debt, balance_after, used_after, key, request_hash,
        reason, subject, detail, at, real_at)
    SELECT
        row_id, p_posting.account_id, m.seq, p_posting.kind, total, owed, m.balance, m.used,
        p_posting.key, p_posting.hash, p_posting.reason, p_posting.subject,
        coalesce(p_posting.detail, '{}'), m.last_at, clock_timestamp()
    FROM moved AS m;

    INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
    SELECT row_id, p.lot_id, p_posting.account_id, p.amount FROM unnest(p_parts) AS p;
    RETURN row_id;
END;
$$;
