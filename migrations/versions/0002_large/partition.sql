-- billing_records becomes partitioned by month: the table of before is its first partition, with all
-- its rows where they are. Nothing here reads them (prepare.sql has), so the lock is short.
LOCK TABLE billing_records IN ACCESS EXCLUSIVE MODE;

-- Views know the table itself, not its name.
CREATE TEMPORARY TABLE views_before ON COMMIT DROP AS
SELECT v.name, pg_get_viewdef(v.name::regclass) AS query
FROM (VALUES ('credit_usage_logs'), ('usage_records')) AS v(name);
DROP VIEW credit_usage_logs, usage_records;

ALTER TABLE billing_records RENAME TO billing_records_before;
ALTER TABLE billing_records_before
    DROP CONSTRAINT pk_billing_records, DROP CONSTRAINT ck_billing_records_amount_positive,
    ALTER COLUMN written_at SET DEFAULT clock_timestamp();
ALTER TABLE billing_records_before
    ADD CONSTRAINT pk_billing_records_before PRIMARY KEY USING INDEX pk_billing_records_before;
ALTER INDEX ix_billing_records_account RENAME TO ix_billing_records_account_before;
ALTER INDEX ix_billing_records_entry RENAME TO ix_billing_records_entry_before;
ALTER INDEX ix_billing_records_open RENAME TO ix_billing_records_open_before;
ALTER INDEX ix_billing_records_user RENAME TO ix_billing_records_user_before;
ALTER INDEX ix_billing_records_written RENAME TO ix_billing_records_written_before;

CREATE TABLE billing_records (LIKE billing_records_before INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (month);
ALTER TABLE billing_records DROP CONSTRAINT of_before;
ALTER TABLE billing_records ADD CONSTRAINT pk_billing_records PRIMARY KEY (id, month);
CREATE INDEX ix_billing_records_account ON billing_records (account_id, occurred_at);
CREATE INDEX ix_billing_records_entry ON billing_records USING brin (transaction_id)
    WITH (autosummarize = on);
CREATE INDEX ix_billing_records_open ON billing_records (account_id, occurred_at, id)
    WHERE billing_status <> 'completed';
CREATE INDEX ix_billing_records_user ON billing_records (account_id, user_id, occurred_at)
    WHERE user_id IS NOT NULL;
CREATE INDEX ix_billing_records_written ON billing_records USING brin (written_at)
    WITH (autosummarize = on);
ALTER TABLE billing_records ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_records FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON billing_records
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));

-- Rows are read and written by the whole table's name alone.
DROP POLICY tenant ON billing_records_before;
ALTER TABLE billing_records_before NO FORCE ROW LEVEL SECURITY;
REVOKE ALL ON billing_records_before FROM PUBLIC, billing_app, billing_operator;
DO $$
DECLARE
    known record;
BEGIN
    EXECUTE format(
        'ALTER TABLE billing_records ATTACH PARTITION billing_records_before'
        ' FOR VALUES FROM (MINVALUE) TO (%L)', date_trunc('month', transaction_timestamp() AT TIME ZONE 'UTC')::date);
    FOR known IN SELECT name, query FROM views_before LOOP
        EXECUTE format(
            'CREATE VIEW %I WITH (security_invoker = true) AS %s', known.name, known.query);
    END LOOP;
END $$;
ALTER TABLE billing_records_before DROP CONSTRAINT of_before;

-- Programs of the release before may be about for a week. For once their owner looks at all accounts.
ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY;
INSERT INTO usage_months (month, ends_at)
SELECT '1970-01-01', CASE WHEN EXISTS (SELECT FROM accounts) THEN clock_timestamp() + interval '7 days'
    ELSE '-infinity' END;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
