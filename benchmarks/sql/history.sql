-- History: one paid use each, a fifth of them of the first account and its 500 users, over the open
-- cycle; the records, the ledger, its lines, the lots, the balances and the counters agree.
CREATE TEMPORARY TABLE uses AS
SELECT
    uuidv7() AS id, uuidv7() AS transaction_id, p.id AS account_id, s.n,
    CASE WHEN p.n = 1 THEN 'user-' || s.n / 5 % 500 END AS user_id,
    1 + row_number() OVER (PARTITION BY p.id ORDER BY s.n) AS seq, b.period_start,
    b.real_at - (b.real_at - b.period_start) * (({rows} - s.n) / {rows}::double precision) AS at
FROM generate_series(1, {rows}) AS s(n)
JOIN bench_picks AS p
    ON p.n = CASE WHEN s.n % 5 = 0 THEN 1 ELSE 1 + (s.n * 7919::bigint) % {accounts} END
CROSS JOIN LATERAL (
    SELECT u.start_at AS period_start, clock_timestamp() AS real_at
    FROM credit_balances AS c JOIN usage_periods AS u ON u.id = c.period_id
    WHERE c.account_id = p.id) AS b;
INSERT INTO billing_records
SELECT
    id, account_id, 'history-' || n, n, user_id, NULL, NULL, NULL, 'gpt-4', 'model_inference', NULL,
    NULL, NULL, 'model_inference', 5, 0, 5, 0.002, 0.01, 'CREDIT', 'credit_consumption',
    'completed', false, false, NULL, transaction_id, NULL, period_start, date_trunc('day', at), at,
    at, at, 'usage'
FROM uses ORDER BY n;
INSERT INTO credit_transactions (
    id, account_id, seq, kind, amount, balance_after, used_after, key, request_hash, reason, at,
    real_at)
SELECT transaction_id, account_id, seq, 'debit', -0.01, 100000000 - (seq - 1) * 0.01,
    (seq - 1) * 0.01, 'history/' || id, 'history', 'usage: gpt-4', at, at
FROM uses ORDER BY n;
INSERT INTO credit_transaction_lots (transaction_id, account_id, lot_id, amount)
SELECT u.transaction_id, u.account_id, l.id, -0.01
FROM uses AS u JOIN credit_lots AS l ON l.account_id = u.account_id;
UPDATE credit_lots AS l SET remaining = l.remaining - s.spent
FROM (SELECT account_id, count(*) * 0.01 AS spent FROM uses GROUP BY 1) AS s
WHERE s.account_id = l.account_id;
UPDATE credit_balances AS b
SET balance = b.balance - s.uses * 0.01, used = b.used + s.uses * 0.01, seq = s.seq
FROM (SELECT account_id, count(*) AS uses, max(seq) AS seq FROM uses GROUP BY 1) AS s
WHERE s.account_id = b.account_id;
INSERT INTO usage_counters
SELECT account_id, c.owner, 'day', period_start, date_trunc('day', at), 'model_inference',
    c.facet, count(*) * 5, count(*), 5, 5, max(at), count(*) * 0.01, 0, 0
FROM uses CROSS JOIN LATERAL (VALUES
    ('', 'model_inference|credit_consumption|completed|CREDIT'),
    ('u:' || user_id, '')) AS c(owner, facet)
WHERE c.owner IS NOT NULL
GROUP BY 1, 2, 4, 5, 7;
DROP TABLE uses;
