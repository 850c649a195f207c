-- Accounts with credits and an open period; bench_picks numbers them for pgbench.
CREATE TABLE bench_picks (n integer PRIMARY KEY, id uuid NOT NULL, external_id text NOT NULL);
INSERT INTO bench_picks SELECT n, uuidv7(), 'bench-' || n FROM generate_series(1, {accounts}) AS n;
INSERT INTO accounts (id, external_id, created_at)
SELECT id, external_id, clock_timestamp() FROM bench_picks;
INSERT INTO credit_balances (account_id) SELECT id FROM bench_picks;
SELECT count(credit_grant_once(ROW(
    id, 100000000, 'purchase', 'bench/' || n, true, 'bench', NULL, NULL, 100, NULL,
    NULL)::credit_grant_item))
FROM bench_picks;
SELECT count(*) FROM bench_picks, LATERAL usage_open_period(id, clock_timestamp());
-- What the floors write: rows without an index, rows with one, and a balance guarded naively.
CREATE TABLE bench_bare (account_id uuid, event_id text, feature text, amount numeric);
CREATE TABLE bench_rows (id uuid PRIMARY KEY, account_id uuid, amount numeric, at timestamptz);
CREATE TABLE bench_balances (account_id uuid PRIMARY KEY, balance numeric CHECK (balance >= 0))
    WITH (fillfactor = 50);
INSERT INTO bench_balances SELECT id, 1000000000 FROM bench_picks;
SELECT count(*)
FROM bench_picks CROSS JOIN (VALUES ('impressions'), ('model_inference')) AS m(meter)
CROSS JOIN LATERAL quota_set(
    id, ROW('', m.meter, 'month', NULL, 100000000000, true, '{80}')::quota_input,
    clock_timestamp())
WHERE n > {accounts} - 1000;
-- The first claim of a window looks at everything, and lets the quota know what the next ones need.
SELECT count(*) FILTER (WHERE quota_claim_use(
    id, ROW(uuidv7(), 'first', NULL, NULL, 'impressions', 1, '1 day')::quota_claim_input,
    clock_timestamp()))
FROM bench_picks WHERE n > {accounts} - 1000;
GRANT ALL ON bench_picks, bench_bare, bench_rows, bench_balances TO billing_app;
