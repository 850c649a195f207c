\set n random(1, {accounts})
SELECT * FROM usage_record_batch(
    ARRAY[(SELECT id FROM bench_picks WHERE n = :n)], ARRAY['gpt-4'], ARRAY[NULL], ARRAY[NULL],
    ARRAY[NULL], ARRAY[NULL], ARRAY['credit_consumption'], ARRAY[false], ARRAY[1], ARRAY[1],
    ARRAY[1], ARRAY[uuidv7()], ARRAY[7::bigint], NULL, ARRAY[5::numeric], NULL, NULL, NULL, NULL,
    NULL, NULL, true, true);
