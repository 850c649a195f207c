\set n random(1, {accounts})
SELECT bench_plain_debit((SELECT id FROM bench_picks WHERE n = :n), 0.01, uuidv7()::text);
