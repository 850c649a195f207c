-- Accounts 2 to 1001 subscribe to a plan; account 1002 spends all it has. And a table for COPY.
INSERT INTO subscriptions (
    id, account_id, plan_id, plan_key, price_id, currency, amount_minor, interval_unit,
    interval_count, status, anchor_wall, zone, current_period_start, current_period_end,
    cycle_start, cycle_end, created_at, updated_at)
SELECT uuidv7(), b.id, p.id, p.key, r.id, r.currency, r.amount_minor, 'month', 1, 'active',
    t.start_at AT TIME ZONE 'UTC', 'UTC', t.start_at, t.start_at + interval '1 month', t.start_at,
    t.start_at + interval '1 month', t.start_at, t.start_at
FROM bench_picks AS b
CROSS JOIN (SELECT date_trunc('month', clock_timestamp(), 'UTC') AS start_at) AS t
JOIN plans AS p ON p.key = 'basic' AND p.is_current
JOIN prices AS r ON r.kind = 'plan' AND r.key = p.key AND r.is_current AND r.currency = 'USD'
    AND r.interval_unit = 'month' AND r.interval_count = 1
WHERE b.n BETWEEN 2 AND 1001;
UPDATE credit_balances SET currency = 'USD'
WHERE account_id IN (SELECT id FROM bench_picks WHERE n BETWEEN 2 AND 1001);
SELECT count(*) FROM bench_picks, LATERAL usage_open_period(id, clock_timestamp())
WHERE n BETWEEN 2 AND 1001;
SELECT d.verdict
FROM bench_picks AS p JOIN credit_balances AS b ON b.account_id = p.id
CROSS JOIN LATERAL credit_debit_many(ARRAY[ROW(
    p.id, b.balance, 'bench/spent', 'bench/spent', 'bench', NULL, false, NULL, NULL, false
    )::credit_debit_item]) AS d
WHERE p.n = 1002;
CREATE TABLE bench_real (
    account_id uuid, event_id text, product_id text, amount numeric, user_id text,
    organization_id text, session_id text, request_id text, detail jsonb);
