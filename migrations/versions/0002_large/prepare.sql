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
            'kind <> ''usage'' OR CASE WHEN voids IS NULL THEN usage_amount >= 0'
            ' ELSE usage_amount < 0 END'),
        ('ck_billing_records_voided_once',
            'voids IS NULL OR id = usage_void_id(voids)'),
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
    USING brin (transaction_id) WITH (autosummarize = on);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_billing_records_written ON billing_records
    USING brin (written_at) WITH (autosummarize = on);

-- Uses that a plan included in part and credits paid for the rest; it goes with the migration.
CREATE INDEX CONCURRENTLY IF NOT EXISTS included_of_before ON billing_records (id)
    WHERE kind = 'usage' AND currency = 'CREDIT' AND included_units > 0 AND total_amount > 0;

-- Uses that were put off or failed to be paid; it goes with the migration, too.
CREATE INDEX CONCURRENTLY IF NOT EXISTS unpaid_of_before ON billing_records (id)
    WHERE billing_status = 'failed' OR billing_status = 'pending' AND currency = 'CREDIT';

-- Countries that are no code; it goes with the migration, too.
CREATE INDEX CONCURRENTLY IF NOT EXISTS countries_of_before ON accounts (id)
    WHERE country IN ('UK', 'EL');

-- By these operators find and list things of all accounts.
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_accounts_email
    ON accounts (lower(email)) WHERE email IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_accounts_name
    ON accounts (lower(name)) WHERE name IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_billing_audit_action ON billing_audit (action, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_billing_audit_actor ON billing_audit (actor, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_billing_audit_real
    ON billing_audit USING brin (real_at) WITH (autosummarize);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_credit_notes_number ON credit_notes (number);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_invoices_number
    ON invoices (number) WHERE number IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_invoices_issued ON invoices (issued_on, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_credit_notes_issued ON credit_notes (issued_on, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payments_settled ON payments (settled_at, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_balance_entries_at ON balance_entries (at, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_invoice_lines_price
    ON invoice_lines ((detail ->> 'price'), id) WHERE kind = 'plan';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_invoices_collection
    ON invoices (collection, id) WHERE collection <> 'automatic';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_invoices_unpaid
    ON invoices (status, id) WHERE status <> 'paid';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payment_attempts_charge
    ON payment_attempts ((detail ->> 'charge_id'))
    WHERE detail ->> 'charge_id' IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payments_charge ON payments (stripe_charge_id)
    WHERE stripe_charge_id IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payments_reference ON payments (transaction_reference)
    WHERE transaction_reference IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_subscriptions_plan ON subscriptions (plan_key, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_subscriptions_price ON subscriptions (price_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_subscriptions_status ON subscriptions (status, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payments_status ON payments (status, id)
    WHERE status <> 'succeeded';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payments_manual ON payments (id) WHERE flow = 'manual';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payments_paypal
    ON payments (settled_at) WHERE flow = 'paypal';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_purchases_pack ON purchases (pack, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_purchases_status ON purchases (status, id)
    WHERE status NOT IN ('completed', 'pending');

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_dunning_cases_opened ON dunning_cases (opened_at, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_dunning_cases_status_opened
    ON dunning_cases (status, opened_at, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_matters_created ON matters (created_at, workflow_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_matters_kind ON matters (kind, created_at, workflow_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_matters_kind_open
    ON matters (kind, created_at, workflow_id) WHERE closed_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_stripe_webhook_events_received
    ON stripe_webhook_events (received_at, stripe_event_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_stripe_webhook_events_status
    ON stripe_webhook_events (status, received_at, stripe_event_id)
    WHERE status NOT IN ('received', 'handled');

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_stripe_webhook_events_source
    ON stripe_webhook_events (source, received_at, stripe_event_id) WHERE source <> 'webhook';

-- By these is known who moved, what is late, and how the product is.
CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_matters_account_open ON matters (account_id, workflow_id)
    WHERE closed_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_matters_left_behind_new ON matters (woken_at)
    WHERE started_at IS NULL AND closed_at IS NULL AND status = 'open';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_matters_open_new ON matters (workflow_id)
    WHERE closed_at IS NULL AND status <> 'resting';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_matters_halted ON matters (woken_at)
    WHERE status = 'halted';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_matters_halted_workflow ON matters (workflow_id)
    WHERE status = 'halted';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_stripe_webhook_events_workflow
    ON stripe_webhook_events (workflow_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_stripe_webhook_events_parked
    ON stripe_webhook_events (received_at) WHERE status = 'parked';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_stripe_webhook_events_ignored
    ON stripe_webhook_events (received_at)
    WHERE status = 'ignored' AND type ~ '^(refund|charge[.](refund|dispute))';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payments_approval ON payments (created_at)
    WHERE status = 'pending_approval';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payments_unsettled ON payments (paid_at)
    WHERE settled_at IS NULL AND status IN ('succeeded', 'completed');

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_purchases_pending ON purchases (expires_at)
    WHERE status = 'pending';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_purchases_unarchived ON purchases (created_at)
    WHERE archived_at IS NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payment_attempts_account
    ON payment_attempts (account_id, started_at, id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payment_attempts_declined
    ON payment_attempts (account_id, payment_method_id, started_at)
    WHERE status IN ('declined', 'action');

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_payment_attempts_real ON payment_attempts
    USING brin (real_started_at) WITH (autosummarize);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_steps_real ON steps
    USING brin (real_ran_at) WITH (autosummarize);

-- To these a reference names its account too.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_invoices_id_account_id
    ON invoices (id, account_id);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_payment_methods_id_account_id
    ON payment_methods (id, account_id);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_payments_id_account_id
    ON payments (id, account_id);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_purchases_id_account_id
    ON purchases (id, account_id);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_subscriptions_id_account_id
    ON subscriptions (id, account_id);

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_top_ups_id_account_id
    ON top_ups (id, account_id);

-- A backup among an account's methods.
ALTER TABLE payment_methods ADD COLUMN IF NOT EXISTS is_backup boolean NOT NULL DEFAULT false;

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_payment_methods_backup
    ON payment_methods (account_id) WHERE is_backup AND status = 'active';

-- One card is one method; the release before writes none, and its two of one card stay.
ALTER TABLE payment_methods ADD COLUMN IF NOT EXISTS one_card text;

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_payment_methods_one_card
    ON payment_methods (account_id, one_card) WHERE status = 'active';

-- Customers that were deleted at Stripe.
ALTER TABLE accounts ADD COLUMN IF NOT EXISTS gone_customer_id text;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_accounts_gone
    ON accounts (gone_customer_id) WHERE gone_customer_id IS NOT NULL;

-- Quotas that each user has by default.
ALTER TABLE billing_quotas ADD COLUMN IF NOT EXISTS is_derived boolean NOT NULL DEFAULT false;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_billing_quotas_set
    ON billing_quotas (account_id, meter) WHERE NOT is_derived;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_billing_quotas_created
    ON billing_quotas (created_at, id) WHERE NOT is_derived;

ALTER TABLE stripe_webhook_events ADD COLUMN IF NOT EXISTS emptied_at timestamp with time zone;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_stripe_webhook_events_full
    ON stripe_webhook_events (received_at)
    WHERE emptied_at IS NULL AND status IN ('handled', 'ignored');

ALTER TABLE quota_claims ADD COLUMN IF NOT EXISTS written_at timestamp with time zone;

ALTER TABLE quota_claims ALTER COLUMN written_at SET DEFAULT transaction_timestamp();

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_quota_claims_closed
    ON quota_claims (coalesce(written_at, claimed_at)) WHERE status <> 'open';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_credit_transactions_kind
    ON credit_transactions (account_id, kind, at, seq) WHERE kind NOT IN ('debit', 'capture');

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_credit_transactions_granted
    ON credit_transactions (account_id, subject) WHERE kind = 'grant';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_credit_lots_created
    ON credit_lots (account_id, created_at);

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_credit_lots_plan
    ON credit_lots (account_id, expires_at) WHERE kind = 'plan';

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_credit_lots_unnoticed
    ON credit_lots (account_id, expires_at)
    WHERE is_open AND noticed_at IS NULL AND expires_at IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_credit_holds_ended
    ON credit_holds (account_id, status, id) WHERE status IN ('released', 'expired');

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_billing_audit_account_at
    ON billing_audit (account_id, at);

-- What a credit note was written for. Those of before forgave a debt, or credited what was owed for
-- time that was not served. Nobody changes a note, but for once its owner does; each page is
-- committed, so whoever reads or writes notes waits for one page only.
ALTER TABLE credit_notes ADD COLUMN IF NOT EXISTS kind text NOT NULL DEFAULT 'forgiven';

CREATE INDEX CONCURRENTLY IF NOT EXISTS unserved_of_before ON credit_notes (id)
    WHERE fact_key LIKE '%/unserved' AND kind = 'forgiven';

DO $$
DECLARE
    is_done boolean;
BEGIN
    LOOP
        ALTER TABLE credit_notes NO FORCE ROW LEVEL SECURITY, DISABLE TRIGGER append_only;
        UPDATE credit_notes SET kind = 'unserved' WHERE id IN (
            SELECT id FROM credit_notes
            WHERE fact_key LIKE '%/unserved' AND kind = 'forgiven' LIMIT 5000);
        is_done := NOT FOUND;
        ALTER TABLE credit_notes FORCE ROW LEVEL SECURITY, ENABLE TRIGGER append_only;
        EXIT WHEN is_done;
        COMMIT;
    END LOOP;
END $$;

-- Captures of before have their usage logs too; those that a use is behind name its record. Their
-- table is made here and filled page by page, each in a transaction of its own, by an index that
-- goes with the migration. That one adds what came since: an id tells its time, and nobody takes an
-- hour to commit. Until the table has its policy nobody but the owner sees its rows.
CREATE TABLE IF NOT EXISTS capture_logs (
    transaction_id UUID NOT NULL,
    account_id UUID NOT NULL,
    user_id TEXT,
    operation TEXT NOT NULL,
    model TEXT,
    credits NUMERIC(27, 12) NOT NULL,
    paid_only BOOLEAN NOT NULL,
    detail JSONB DEFAULT '{}' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_capture_logs PRIMARY KEY (transaction_id),
    CONSTRAINT ck_capture_logs_credits_positive CHECK (credits > 0)
);

ALTER TABLE capture_logs ENABLE ROW LEVEL SECURITY;

CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_capture_logs_account
    ON capture_logs (account_id, created_at, transaction_id);

CREATE INDEX CONCURRENTLY IF NOT EXISTS captures_of_before ON credit_transactions (id)
    WHERE kind = 'capture' AND detail ->> 'billing_id' IS NULL;

-- As the migration alters those of other tables (0002_growth.sql). The release before locks balances
-- before accounts, and the migration accounts before all: here it holds nothing else.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_policy WHERE polrelid = 'credit_balances'::regclass AND polname = 'tenant'
            AND pg_get_expr(polqual, polrelid) LIKE '%uuid[]%')
    THEN
        ALTER POLICY tenant ON credit_balances USING (account_id::text IN (SELECT unnest(
            string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
    END IF;
END $$;

-- For once their owner looks at the rows of all accounts.
DO $$
BEGIN
    IF (SELECT relforcerowsecurity FROM pg_class WHERE oid = 'credit_transactions'::regclass) THEN
        ALTER TABLE credit_transactions NO FORCE ROW LEVEL SECURITY;
    END IF;
END $$;

DO $$
DECLARE
    newest uuid := (SELECT transaction_id FROM capture_logs ORDER BY transaction_id DESC LIMIT 1);
    reached uuid := coalesce((
        lpad(to_hex((1000 * extract(epoch FROM
            uuid_extract_timestamp(newest) - interval '1 hour'))::bigint), 12, '0')
        || repeat('0', 20))::uuid, '00000000-0000-0000-0000-000000000000');
BEGIN
    LOOP
        WITH page AS MATERIALIZED (
            SELECT id, account_id, reason, detail, amount, at FROM credit_transactions
            WHERE kind = 'capture' AND detail ->> 'billing_id' IS NULL AND id > reached
            ORDER BY id LIMIT 10000
        ), written AS (
            INSERT INTO capture_logs (
                transaction_id, account_id, operation, model, credits, paid_only, detail,
                created_at)
            SELECT id, account_id, reason, detail ->> 'model', -amount, false, detail, at
            FROM page
            ON CONFLICT DO NOTHING
        )
        SELECT id INTO newest FROM page ORDER BY id DESC LIMIT 1;
        EXIT WHEN newest IS NULL;
        reached := newest;
        COMMIT;
    END LOOP;
END $$;
