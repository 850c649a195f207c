-- Division by zero makes a claim that is not counted an error.
\set n random({accounts} - 999, {accounts})
SELECT 1 / coalesce(
    quota_claim_fast(
        a.id, ROW(NULL, NULL, NULL, NULL, 'impressions', 1, NULL)::quota_claim_input,
        clock_timestamp()),
    false)::integer
FROM (
    SELECT id, set_config('app.accounts', id::text, true) AS shown
    FROM bench_picks WHERE n = :n OFFSET 0) AS a
WHERE a.shown <> '';
