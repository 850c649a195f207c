-- Debits of one kind, one of each account and each out of one lot, in one statement: the same as
-- credit_debit_fast does, at half of its cost. The ledger's new ids, in the order of the debits.
-- PRECONDITION, beside that of credit_debit_fast: no account comes twice, and `p_lot_ids` are the
-- lots that burn first, each of which covers its debit.
CREATE OR REPLACE FUNCTION credit_debit_apart_fast(
    p_account_ids uuid[], p_as_of timestamptz[], p_amounts numeric[], p_keys text[],
    p_reasons text[], p_lot_ids uuid[], p_bought_only boolean)
RETURNS uuid[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH items AS MATERIALIZED (
        SELECT i.place, i.account_id, i.as_of, i.amount, i.key, i.reason, i.lot_id, uuidv7() AS id
        FROM unnest(p_account_ids, p_as_of, p_amounts, p_keys, p_reasons, p_lot_ids)
            WITH ORDINALITY AS i(account_id, as_of, amount, key, reason, lot_id, place)
    ), burnt AS (
        UPDATE credit_lots AS l
        SET remaining = l.remaining - i.amount, is_open = l.remaining > i.amount
        FROM items AS i
        WHERE l.id = i.lot_id
    ), moved AS MATERIALIZED (
        UPDATE credit_balances AS b
        SET balance = b.balance - i.amount, used = b.used + i.amount, seq = b.seq + 1,
            last_at = greatest(b.last_at, i.as_of)
        FROM items AS i
        WHERE b.account_id = i.account_id
        RETURNING i.place, new.balance, new.used, new.seq, new.last_at
    ), split AS (
        INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
        SELECT id, lot_id, account_id, -amount FROM items
    ), written AS (
        INSERT INTO credit_transactions (
            id, account_id, seq, kind, amount, balance_after, used_after, key, request_hash,
            paid_only, reason, at, real_at)
        SELECT i.id, i.account_id, m.seq, 'debit', -i.amount, m.balance, m.used, i.key, i.key,
            p_bought_only, i.reason, m.last_at, clock_timestamp()
        FROM items AS i JOIN moved AS m ON m.place = i.place
    )
    SELECT array_agg(id ORDER BY place) FROM items
$$;
