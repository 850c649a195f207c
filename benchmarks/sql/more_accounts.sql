-- More accounts like those of the template, up to this number of them.
INSERT INTO bench_picks
SELECT n, uuidv7(), 'bench-' || n FROM generate_series({first}, {accounts}) AS n;
INSERT INTO accounts (id, external_id, created_at)
SELECT id, external_id, clock_timestamp() FROM bench_picks WHERE n >= {first};
INSERT INTO credit_balances (account_id) SELECT id FROM bench_picks WHERE n >= {first};
SELECT count(credit_grant_once(ROW(
    id, 100000000, 'purchase', 'bench/' || n, true, 'bench', NULL, NULL, 100, NULL,
    NULL)::credit_grant_item))
FROM bench_picks WHERE n >= {first};
SELECT count(*) FROM bench_picks, LATERAL usage_open_period(id, clock_timestamp())
WHERE n >= {first};
