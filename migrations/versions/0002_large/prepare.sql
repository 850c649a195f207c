-- What takes long on large tables and locks nobody out: each statement is its own transaction,
-- before the migration's, while the release before serves. Killed at any point it is run again from
-- the first: a statement whose work is done does nothing.

ALTER TABLE billing_records ADD COLUMN IF NOT EXISTS voids uuid;

-- The default comes by itself: with it at once, all rows of before would seem to be of today.
ALTER TABLE billing_records ADD COLUMN IF NOT EXISTS written_at timestamp with time zone;

ALTER TABLE billing_records ADD COLUMN IF NOT EXISTS month date NOT NULL DEFAULT '1970-01-01';

DO $$
DECLARE
    name text;
    rule text;
BEGIN
    FOR name, rule IN VALUES
        ('ck_billing_records_amount_signed',
            'kind <> ''usage'' OR (usage_amount > 0) = (voids IS NULL) AND usage_amount <> 0'),
        ('ck_billing_records_voided_once',
            'voids IS NULL OR id = (left(voids::text, 13) || ''-7'' || left(md5(voids::text), 3)'
            ' || ''-8'' || right(md5(voids::text), 15))::uuid'),
        ('of_before', 'month = ''1970-01-01''')
    LOOP
        IF (SELECT relkind = 'r' FROM pg_class WHERE oid = 'billing_records'::regclass)
            AND NOT EXISTS (
                SELECT FROM pg_constraint
                WHERE conrelid = 'billing_records'::regclass AND conname = name)
        THEN
            EXECUTE format(
                'ALTER TABLE billing_records ADD CONSTRAINT %I CHECK (%s) NOT VALID', name, rule);
        END IF;
    END LOOP;
END $$;

ALTER TABLE billing_records VALIDATE CONSTRAINT ck_billing_records_amount_signed;

ALTER TABLE billing_records VALIDATE CONSTRAINT ck_billing_records_voided_once;

ALTER TABLE billing_records VALIDATE CONSTRAINT of_before;

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS pk_billing_records_before
    ON billing_records (id, month);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_billing_records_entry ON billing_records
    USING brin (transaction_id) WITH (autosummarize = on, pages_per_range = 16);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_billing_records_written ON billing_records
    USING brin (written_at) WITH (autosummarize = on, pages_per_range = 16);

ALTER TABLE stripe_webhook_events ADD COLUMN IF NOT EXISTS emptied_at timestamp with time zone;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_stripe_webhook_events_full
    ON stripe_webhook_events (received_at)
    WHERE emptied_at IS NULL AND status IN ('handled', 'ignored');

ALTER TABLE quota_claims ADD COLUMN IF NOT EXISTS written_at timestamp with time zone;

ALTER TABLE quota_claims ALTER COLUMN written_at SET DEFAULT transaction_timestamp();

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_quota_claims_closed
    ON quota_claims (coalesce(written_at, claimed_at)) WHERE status <> 'open';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_credit_transactions_expired
    ON credit_transactions (account_id, at) WHERE kind = 'expire';
