-- Write the debits that were decided: entries, their parts, lots and balances.
CREATE OR REPLACE FUNCTION credit_debit_write(p_entries credit_debit_entry[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(p_entries) = 0 THEN
        RETURN;
    END IF;
    INSERT INTO credit_transactions (
        id, account_id, seq, kind, amount, debt, scope, paid_only, balance_after, used_after, key,
        request_hash, reason, subject, detail, at, real_at)
    SELECT e.id, (e.item).account_id, e.seq, 'debit', e.debt - (e.item).amount, e.debt,
        (e.item).scope, coalesce((e.item).paid_only, false), e.balance_after, e.used_after,
        (e.item).key, (e.item).hash, (e.item).reason, (e.item).subject,
        coalesce((e.item).detail, '{}'), e.at, clock_timestamp()
    FROM unnest(p_entries) AS e;
    INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
    SELECT e.id, p.lot_id, (e.item).account_id, -p.amount
    FROM unnest(p_entries) AS e CROSS JOIN LATERAL unnest(e.parts) AS p;
    UPDATE credit_lots AS l
    SET remaining = l.remaining - u.amount, is_open = l.remaining - u.amount > 0
    FROM (
        SELECT p.lot_id, sum(p.amount) AS amount
        FROM unnest(p_entries) AS e CROSS JOIN LATERAL unnest(e.parts) AS p
        GROUP BY p.lot_id) AS u
    WHERE l.id = u.lot_id;
    -- An account's balance goes down and its use goes up with every entry.
    UPDATE credit_balances AS b
    SET balance = u.balance, used = u.used, seq = u.seq, last_at = u.at, debt = b.debt + u.debt
    FROM (
        SELECT (e.item).account_id, min(e.balance_after) AS balance, max(e.used_after) AS used,
            max(e.seq) AS seq, max(e.at) AS at, sum(e.debt) AS debt
        FROM unnest(p_entries) AS e
        GROUP BY (e.item).account_id) AS u
    WHERE b.account_id = u.account_id;
END;
$$;
