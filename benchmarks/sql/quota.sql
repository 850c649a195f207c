-- Divided by, so that one that is not counted is an error.
\set n random({accounts} - 999, {accounts})
SELECT 1 / coalesce(
    quota_consume(a.id, NULL, NULL, 'impressions', 1, clock_timestamp()), false)::integer
FROM (
    SELECT id, set_config('app.accounts', id::text, true) AS shown
    FROM bench_picks WHERE n = :n OFFSET 0) AS a
WHERE a.shown <> '';
