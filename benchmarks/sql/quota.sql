-- A claim of an event of this month, as the API makes it. Division by zero makes a claim that is not
-- counted an error.
\set n random({accounts} - 999, {accounts})
SELECT 1 / coalesce(
    quota_claim_fast(
        a.id, ROW(a.event, NULL, NULL, NULL, 'impressions', 1, NULL)::quota_claim_input,
        clock_timestamp()),
    false)::integer
FROM (
    SELECT id, set_config('app.accounts', id::text, true) AS shown,
        usage_id_in_month(id, usage_month_digits(
            date_trunc('month', uuid_extract_timestamp(id) AT TIME ZONE 'UTC')::date)) AS event
    FROM bench_picks WHERE n = :n OFFSET 0) AS a
WHERE a.shown <> '';
