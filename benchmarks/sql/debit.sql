\set n random(1, {accounts})
SELECT * FROM usage_record(
    ARRAY[(SELECT id FROM bench_picks WHERE n = :n)],
    ARRAY[ROW('gpt-4', NULL, NULL, NULL, NULL, 'credit_consumption', false)::usage_kind],
    ARRAY[ROW(1, 1, 1, 1, uuidv7(), 7, NULL, 5, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::usage_input],
    true, true);
