-- Uses of this month and the previous one, of accounts in turn; indexes are created afterwards,
-- which is faster.
CREATE FUNCTION pg_temp.fill(p_name text, p_month date, p_rows bigint, p_add boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    known record;
BEGIN
    IF p_add THEN
        EXECUTE format('CREATE TABLE %I (LIKE billing_records INCLUDING DEFAULTS'
            ' INCLUDING CONSTRAINTS)', p_name);
    ELSE
        EXECUTE format('ALTER TABLE billing_records DETACH PARTITION %I', p_name);
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', p_name, p_name || '_pkey');
        FOR known IN SELECT indexname FROM pg_indexes WHERE tablename = p_name LOOP
            EXECUTE format('DROP INDEX %I', known.indexname);
        END LOOP;
    END IF;
    EXECUTE format('INSERT INTO %I (
            id, account_id, event_id, request_hash, feature_type, meter, usage_amount,
            included_units, charged_units, unit_price, total_amount, currency, billing_method,
            billing_status, is_free_tier, is_late, period_start, day_at, occurred_at, created_at,
            updated_at, month)
        SELECT overlay(overlay(overlay(md5(s.n::text) PLACING usage_month_digits(%L) FROM 1)
                PLACING ''7'' FROM 13) PLACING ''8'' FROM 17)::uuid,
            p.id, s.n, s.n, ''impressions'', ''impressions'', 1, 0, 1, 0, 0, ''CREDIT'',
            ''subscription_included'', ''completed'', false, false, %L, %L, at, at, at, %L
        FROM generate_series(1, %s) AS s(n)
        JOIN bench_picks AS p ON p.n = 1 + (s.n * 7919::bigint) %% {accounts}
        CROSS JOIN LATERAL (SELECT %L::timestamptz + s.n * interval ''20 days'' / %s AS at) AS t',
        p_name, p_month, p_month, p_month, p_month, p_rows, p_month, p_rows);
    EXECUTE format('ALTER TABLE billing_records ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        p_name, p_month, p_month + interval '1 month');
    INSERT INTO usage_months (month, ends_at) VALUES (p_month, p_month + interval '1 month')
    ON CONFLICT (month) DO NOTHING;
END;
$$;
DO $$
DECLARE
    this date := date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC');
    last date := this - interval '1 month';
BEGIN
    ALTER TABLE billing_records DETACH PARTITION billing_records_before;
    EXECUTE format('ALTER TABLE billing_records ATTACH PARTITION billing_records_before'
        ' FOR VALUES FROM (MINVALUE) TO (%L)', last);
    PERFORM pg_temp.fill('billing_records_' || to_char(this, 'YYYY_MM'), this, {rows}, false);
    PERFORM pg_temp.fill('billing_records_last', last, {last}, true);
END $$;
