\set n random({accounts} - 999, {accounts})
INSERT INTO bench_rows
VALUES (uuidv7(), (SELECT id FROM bench_picks WHERE n = :n), 1, clock_timestamp());
