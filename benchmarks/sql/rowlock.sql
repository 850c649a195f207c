BEGIN;
SELECT balance FROM bench_balances WHERE account_id = '{account}' FOR UPDATE;
UPDATE bench_balances SET balance = balance - 0.01 WHERE account_id = '{account}';
INSERT INTO bench_rows VALUES (uuidv7(), '{account}', -0.01, clock_timestamp());
COMMIT;
