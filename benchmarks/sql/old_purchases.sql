-- A thousand purchases become old enough to be archived.
UPDATE purchases SET created_at = clock_timestamp() - interval '100 days', archived_at = NULL
WHERE id IN (SELECT id FROM bench_bought WHERE n <= {purchases});
