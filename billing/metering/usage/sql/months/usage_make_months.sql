-- Create partitions of billing_records for this month and that many more; return how many. While
-- programs of the release before record uses, which go into the first one, that is looked at for a
-- week longer. It acts as the owner of the tables, because the programs' roles may not create any,
-- and so looks names up only in its own schema, whatever the caller's path.
CREATE OR REPLACE FUNCTION usage_make_months(p_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    self oid;
    home text;
    one date;
    name text;
    is_there boolean;
    -- One instant for all of an upgrade: its first partition ends where these begin.
    this date := date_trunc('month', transaction_timestamp() AT TIME ZONE 'UTC');
    made integer := 0;
BEGIN
    GET DIAGNOSTICS self = PG_ROUTINE_OID;
    SELECT n.nspname INTO STRICT home
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = self;
    PERFORM set_config('search_path', quote_ident(home) || ', pg_temp', true);
    PERFORM pg_advisory_xact_lock(7214034);
    FOR one IN
        SELECT (this + make_interval(months => n))::date FROM generate_series(0, p_ahead) AS n
    LOOP
        is_there := usage_partition_of(one) IS NOT NULL;
        CONTINUE WHEN is_there AND EXISTS (SELECT FROM usage_months WHERE month = one);
        made := made + 1;
        INSERT INTO usage_months (month, ends_at)
        VALUES (one, (one + interval '1 month') AT TIME ZONE 'UTC')
        ON CONFLICT (month) DO NOTHING;
        CONTINUE WHEN is_there;
        name := 'billing_records_' || to_char(one, 'YYYY_MM');
        EXECUTE format('CREATE TABLE %I (LIKE billing_records INCLUDING DEFAULTS'
            ' INCLUDING CONSTRAINTS)', name);
        -- Rows are read and written by the whole table's name alone.
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, billing_app, billing_operator', name);
        EXECUTE format('ALTER TABLE billing_records ATTACH PARTITION %I'
            ' FOR VALUES FROM (%L) TO (%L)', name, one, one + interval '1 month');
    END LOOP;
    IF to_regclass('billing_records_before') IS NOT NULL THEN
        UPDATE usage_months AS m SET ends_at = clock_timestamp() + interval '7 days'
        WHERE month = usage_first_month() AND EXISTS (
            SELECT FROM billing_records_before AS r
            WHERE r.voids IS NULL AND r.written_at > m.ends_at - interval '7 days');
    END IF;
    RETURN made;
END;
$$;
