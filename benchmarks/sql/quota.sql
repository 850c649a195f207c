\set n random({accounts} - 999, {accounts})
SELECT quota_claim((SELECT id FROM bench_picks WHERE n = :n), uuidv7(), 'bench', NULL, NULL,
    'impressions', 1, 600, clock_timestamp());
