-- Debits of one kind in one statement: the same as credit_debit_many does item by item. Running
-- totals turn items and lots into intervals; each overlap is one ledger line. `entries` are the
-- ledger's new ids in the order of the items; `whole` says that the lots did cover.
-- PRECONDITION, which the caller has seen to: it holds the accounts' locks and shows their rows;
-- the keys are new; general lots cover each account's items; what is due has expired; nobody wants
-- credits bought.
CREATE OR REPLACE FUNCTION credit_debit_fast(
    p_account_ids uuid[], p_as_of timestamptz[], p_amounts numeric[], p_keys text[],
    p_reasons text[], p_bought_only boolean, OUT entries uuid[], OUT whole boolean)
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH items AS MATERIALIZED (
        SELECT
            i.place, i.account_id, i.as_of, i.amount, i.key, i.reason, uuidv7() AS id,
            sum(i.amount) OVER w AS until, row_number() OVER w AS nth
        FROM unnest(p_account_ids, p_as_of, p_amounts, p_keys, p_reasons) WITH ORDINALITY
            AS i(account_id, as_of, amount, key, reason, place)
        WINDOW w AS (PARTITION BY i.account_id ORDER BY i.place ROWS UNBOUNDED PRECEDING)
    ), sums AS MATERIALIZED (
        SELECT account_id, max(until) AS amount, max(nth) AS entries, max(as_of) AS as_of
        FROM items GROUP BY account_id
    ), lots AS MATERIALIZED (
        SELECT s.account_id, l.id, l.until - l.free AS since, l.until
        FROM sums AS s CROSS JOIN LATERAL (
            SELECT o.id, o.free,
                sum(o.free) OVER (ORDER BY o.place ROWS UNBOUNDED PRECEDING) AS until
            FROM credit_burn_order(s.account_id) AS o
            WHERE credit_may_burn(o.scope, o.is_paid, NULL, p_bought_only)) AS l
        WHERE l.until - l.free < s.amount
    ), lines AS MATERIALIZED (
        SELECT i.id AS transaction_id, l.id AS lot_id, i.account_id,
            greatest(i.until - i.amount, l.since) - least(i.until, l.until) AS amount
        FROM items AS i JOIN lots AS l ON l.account_id = i.account_id
        WHERE l.since < i.until AND l.until > i.until - i.amount
    ), burnt AS (
        UPDATE credit_lots AS l
        SET remaining = l.remaining + u.amount, is_open = l.remaining + u.amount > 0
        FROM (SELECT lot_id, sum(amount) AS amount FROM lines GROUP BY lot_id) AS u
        WHERE l.id = u.lot_id
    ), moved AS MATERIALIZED (
        UPDATE credit_balances AS b
        SET balance = b.balance - s.amount, used = b.used + s.amount, seq = b.seq + s.entries,
            last_at = greatest(b.last_at, s.as_of)
        FROM sums AS s
        WHERE b.account_id = s.account_id
        RETURNING b.account_id, old.balance, old.used, old.seq, new.last_at
    ), split AS (
        INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
        SELECT transaction_id, lot_id, account_id, amount FROM lines
    ), written AS (
        INSERT INTO credit_transactions (
            id, account_id, seq, kind, amount, balance_after, used_after, key, request_hash,
            paid_only, reason, at, real_at)
        SELECT i.id, i.account_id, m.seq + i.nth, 'debit', -i.amount, m.balance - i.until,
            m.used + i.until, i.key, i.key, p_bought_only, i.reason, m.last_at, clock_timestamp()
        FROM items AS i JOIN moved AS m ON m.account_id = i.account_id
    )
    SELECT array_agg(id ORDER BY place),
        sum(amount) + coalesce((SELECT sum(amount) FROM lines), 0) = 0
    FROM items
$$;
