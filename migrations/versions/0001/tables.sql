CREATE TABLE billing_records (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    event_id TEXT,
    request_hash BIGINT NOT NULL,
    user_id TEXT,
    organization_id TEXT,
    session_id TEXT,
    request_id TEXT,
    product_id TEXT,
    service_type TEXT,
    feature_type TEXT,
    operation TEXT,
    model TEXT,
    meter TEXT NOT NULL,
    usage_amount NUMERIC(27, 12) NOT NULL,
    included_units NUMERIC(27, 12) NOT NULL,
    charged_units NUMERIC(27, 12) NOT NULL,
    unit_price NUMERIC(27, 12) NOT NULL,
    total_amount NUMERIC(27, 12) NOT NULL,
    currency TEXT NOT NULL,
    billing_method TEXT NOT NULL,
    billing_status TEXT NOT NULL,
    is_free_tier BOOLEAN NOT NULL,
    is_late BOOLEAN NOT NULL,
    failure TEXT,
    transaction_id UUID,
    detail JSONB,
    period_start TIMESTAMP WITH TIME ZONE NOT NULL,
    day_at TIMESTAMP WITH TIME ZONE NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    kind TEXT DEFAULT 'usage' NOT NULL,
    CONSTRAINT pk_billing_records PRIMARY KEY (id),
    CONSTRAINT ck_billing_records_amount_positive CHECK (usage_amount > 0 OR kind <> 'usage'),
    CONSTRAINT ck_billing_records_status_known CHECK (billing_status IN ('pending', 'processing', 'completed', 'failed', 'refunded')),
    CONSTRAINT ck_billing_records_kind_known CHECK (kind IN ('usage', 'true_up'))
);

CREATE INDEX ix_billing_records_account ON billing_records (account_id, occurred_at);

CREATE INDEX ix_billing_records_open ON billing_records (account_id, occurred_at, id) WHERE billing_status <> 'completed';

CREATE INDEX ix_billing_records_user ON billing_records (account_id, user_id, occurred_at) WHERE user_id IS NOT NULL;

CREATE TABLE credit_costs (
    operation TEXT NOT NULL,
    cost NUMERIC(27, 12) NOT NULL,
    is_active BOOLEAN NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_credit_costs PRIMARY KEY (operation),
    CONSTRAINT ck_credit_costs_cost_not_negative CHECK (cost >= 0)
);

CREATE TABLE credit_hold_lots (
    hold_id UUID NOT NULL,
    position INTEGER NOT NULL,
    lot_id UUID NOT NULL,
    account_id UUID NOT NULL,
    amount NUMERIC(27, 12) NOT NULL,
    CONSTRAINT pk_credit_hold_lots PRIMARY KEY (hold_id, position),
    CONSTRAINT ck_credit_hold_lots_amount_positive CHECK (amount > 0)
);

CREATE INDEX ix_credit_hold_lots_lot ON credit_hold_lots (lot_id);

CREATE TABLE credit_packages (
    id UUID NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    credits NUMERIC(27, 12) NOT NULL,
    position INTEGER DEFAULT '0' NOT NULL,
    is_active BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_credit_packages PRIMARY KEY (id),
    CONSTRAINT ck_credit_packages_credits_positive CHECK (credits > 0),
    CONSTRAINT uq_credit_packages_key UNIQUE (key)
);

CREATE TABLE credit_transaction_lots (
    transaction_id UUID NOT NULL,
    lot_id UUID NOT NULL,
    account_id UUID NOT NULL,
    amount NUMERIC(27, 12) NOT NULL,
    CONSTRAINT pk_credit_transaction_lots PRIMARY KEY (transaction_id, lot_id),
    CONSTRAINT ck_credit_transaction_lots_amount_not_zero CHECK (amount <> 0)
);

CREATE INDEX ix_credit_transaction_lots_lot ON credit_transaction_lots (lot_id);

CREATE TABLE credit_transactions (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    amount NUMERIC(27, 12) NOT NULL,
    debt NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    balance_after NUMERIC(27, 12) NOT NULL,
    used_after NUMERIC(27, 12) NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT,
    scope TEXT,
    paid_only BOOLEAN DEFAULT false NOT NULL,
    reason TEXT NOT NULL,
    subject TEXT,
    detail JSONB DEFAULT '{}' NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    real_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_credit_transactions PRIMARY KEY (id),
    CONSTRAINT ck_credit_transactions_kind_and_sign CHECK ((kind = 'grant' AND amount > 0 AND debt = 0) OR (kind = 'debit' AND amount <= 0 AND debt >= 0 AND amount < debt) OR (kind IN ('capture', 'expire', 'adjustment') AND amount < 0 AND debt = 0) OR (kind = 'debt' AND amount < 0 AND debt = amount) OR (kind = 'clawback' AND amount <= 0 AND debt = 0)),
    CONSTRAINT ck_credit_transactions_balance_not_negative CHECK (balance_after >= 0),
    CONSTRAINT uq_credit_transactions_key UNIQUE (key)
);

CREATE INDEX ix_credit_transactions_account ON credit_transactions (account_id, at, seq);

CREATE TABLE invoice_series (
    series TEXT NOT NULL,
    last_number BIGINT NOT NULL,
    last_issued_on DATE NOT NULL,
    CONSTRAINT pk_invoice_series PRIMARY KEY (series)
);

CREATE TABLE issuers (
    id UUID NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    address JSONB DEFAULT '{}'::jsonb NOT NULL,
    tax_ids JSONB DEFAULT '[]'::jsonb NOT NULL,
    number_prefix TEXT NOT NULL,
    is_default BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_issuers PRIMARY KEY (id),
    CONSTRAINT uq_issuers_key UNIQUE (key)
);

CREATE UNIQUE INDEX uq_issuers_default ON issuers (is_default) WHERE is_default;

CREATE TABLE meters (
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    unit TEXT NOT NULL,
    kind TEXT NOT NULL,
    service_types JSONB NOT NULL,
    feature_types JSONB NOT NULL,
    hourly BOOLEAN NOT NULL,
    is_active BOOLEAN NOT NULL,
    CONSTRAINT pk_meters PRIMARY KEY (key),
    CONSTRAINT ck_meters_kind_known CHECK (kind IN ('sum', 'count', 'max', 'last'))
);

CREATE TABLE plans (
    id UUID NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    family TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    features JSONB NOT NULL,
    limits JSONB NOT NULL,
    add_ons JSONB DEFAULT '[]' NOT NULL,
    trial_days INTEGER DEFAULT '0' NOT NULL,
    monthly_credits NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    allowance_unit TEXT DEFAULT 'month' NOT NULL,
    allowance_count INTEGER DEFAULT '1' NOT NULL,
    billing_threshold JSONB DEFAULT '{}' NOT NULL,
    past_due_access TEXT DEFAULT 'full' NOT NULL,
    trial_end_behavior TEXT DEFAULT 'cancel' NOT NULL,
    dunning JSONB NOT NULL,
    rollover JSONB NOT NULL,
    stripe_product_id TEXT,
    position INTEGER DEFAULT '0' NOT NULL,
    is_active BOOLEAN NOT NULL,
    is_current BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_plans PRIMARY KEY (id),
    CONSTRAINT uq_plans_key_version UNIQUE (key, version),
    CONSTRAINT ck_plans_trial_days_not_negative CHECK (trial_days >= 0),
    CONSTRAINT ck_plans_monthly_credits_not_negative CHECK (monthly_credits >= 0),
    CONSTRAINT ck_plans_allowance_unit CHECK (allowance_unit IN ('day', 'week', 'month', 'year')),
    CONSTRAINT ck_plans_allowance_count_positive CHECK (allowance_count > 0),
    CONSTRAINT ck_plans_past_due_access_known CHECK (past_due_access IN ('full', 'no_new_overage', 'none')),
    CONSTRAINT ck_plans_trial_end_behavior_known CHECK (trial_end_behavior IN ('cancel', 'pause', 'invoice'))
);

CREATE UNIQUE INDEX uq_plans_current ON plans (key) WHERE is_current;

CREATE TABLE prices (
    id UUID NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    currency TEXT NOT NULL,
    interval_unit TEXT,
    interval_count INTEGER,
    amount_minor BIGINT NOT NULL,
    version INTEGER NOT NULL,
    stripe_price_id TEXT,
    is_current BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_prices PRIMARY KEY (id),
    CONSTRAINT ck_prices_kind_known CHECK (kind IN ('plan', 'pack')),
    CONSTRAINT ck_prices_currency_iso CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT ck_prices_amount_not_negative CHECK (amount_minor >= 0),
    CONSTRAINT ck_prices_interval_for_plans CHECK ((kind = 'plan') = (interval_unit IS NOT NULL) AND (interval_unit IS NULL) = (interval_count IS NULL)),
    CONSTRAINT ck_prices_interval_unit CHECK (interval_unit IN ('day', 'week', 'month', 'year')),
    CONSTRAINT ck_prices_interval_count_positive CHECK (interval_count > 0),
    CONSTRAINT uq_prices_kind_key_currency_interval_unit_interval_coun_84e9 UNIQUE NULLS NOT DISTINCT (kind, key, currency, interval_unit, interval_count, version)
);

CREATE UNIQUE INDEX uq_prices_current ON prices (kind, key, currency, interval_unit, interval_count) NULLS NOT DISTINCT WHERE is_current;

CREATE TABLE products (
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    meter TEXT NOT NULL,
    service_type TEXT NOT NULL,
    is_active BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    source TEXT DEFAULT 'catalog' NOT NULL,
    CONSTRAINT pk_products PRIMARY KEY (key),
    CONSTRAINT ck_products_source_known CHECK (source IN ('catalog', 'service'))
);

CREATE TABLE quota_claims (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    event_id TEXT NOT NULL,
    user_id TEXT,
    organization_id TEXT,
    meter TEXT NOT NULL,
    amount NUMERIC(27, 12) NOT NULL,
    claimed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    status TEXT NOT NULL,
    CONSTRAINT pk_quota_claims PRIMARY KEY (id)
);

CREATE INDEX ix_quota_claims_open ON quota_claims (account_id, expires_at) WHERE status = 'open';

CREATE TABLE usage_counters (
    account_id UUID NOT NULL,
    owner TEXT NOT NULL,
    grain TEXT NOT NULL,
    period_start TIMESTAMP WITH TIME ZONE NOT NULL,
    bucket TIMESTAMP WITH TIME ZONE NOT NULL,
    meter TEXT NOT NULL,
    facet TEXT NOT NULL,
    quantity NUMERIC(27, 12) NOT NULL,
    events BIGINT NOT NULL,
    maximum NUMERIC(27, 12) NOT NULL,
    last_value NUMERIC(27, 12) NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE NOT NULL,
    credits NUMERIC(27, 12) NOT NULL,
    overage NUMERIC(27, 12) NOT NULL,
    overage_total NUMERIC(27, 12) NOT NULL,
    CONSTRAINT pk_usage_counters PRIMARY KEY (account_id, owner, grain, period_start, bucket, meter, facet),
    CONSTRAINT ck_usage_counters_grain_known CHECK (grain IN ('hour', 'day'))
)
 WITH (fillfactor = 70);

CREATE TABLE accounts (
    id UUID NOT NULL,
    external_id TEXT NOT NULL,
    kind TEXT DEFAULT 'merchant' NOT NULL,
    name TEXT,
    email TEXT,
    zone TEXT DEFAULT 'UTC' NOT NULL,
    country TEXT,
    locale TEXT DEFAULT 'en' NOT NULL,
    platform TEXT,
    platform_domain TEXT,
    is_test BOOLEAN DEFAULT false NOT NULL,
    clock_at TIMESTAMP WITH TIME ZONE,
    clock_target TIMESTAMP WITH TIME ZONE,
    clock_status TEXT,
    clock_blocked TEXT,
    stripe_customer_id TEXT,
    issuer_id UUID,
    preferred_billing_method TEXT,
    status TEXT DEFAULT 'active' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (id),
    CONSTRAINT ck_accounts_real_time CHECK (is_test OR (clock_at IS NULL AND clock_target IS NULL)),
    CONSTRAINT ck_accounts_clock_status CHECK (clock_status IN ('ready', 'advancing', 'blocked')),
    CONSTRAINT ck_accounts_platform CHECK ((platform IS NULL) = (platform_domain IS NULL)),
    CONSTRAINT ck_accounts_preferred_method_known CHECK (preferred_billing_method IN ('wallet_deduction', 'credit_consumption', 'payment_charge')),
    CONSTRAINT uq_accounts_external_id UNIQUE (external_id),
    CONSTRAINT uq_accounts_stripe_customer_id UNIQUE (stripe_customer_id),
    CONSTRAINT fk_accounts_issuer_id FOREIGN KEY(issuer_id) REFERENCES issuers (id)
);

CREATE INDEX ix_accounts_clock ON accounts (id) WHERE clock_at IS NOT NULL;

CREATE INDEX ix_accounts_created ON accounts (created_at, id);

CREATE TABLE product_prices (
    id UUID NOT NULL,
    product TEXT NOT NULL,
    currency TEXT NOT NULL,
    model TEXT NOT NULL,
    unit_price NUMERIC(27, 12) NOT NULL,
    package_size NUMERIC(27, 12) NOT NULL,
    free_units NUMERIC(27, 12) NOT NULL,
    tiers JSONB NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    effective_to TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_product_prices PRIMARY KEY (id),
    CONSTRAINT ck_product_prices_currency_known CHECK (currency ~ '^([A-Z]{3}|CREDIT)$'),
    CONSTRAINT ck_product_prices_model_known CHECK (model IN ('flat', 'per_unit', 'graduated', 'volume', 'package')),
    CONSTRAINT ck_product_prices_amounts CHECK (unit_price >= 0 AND free_units >= 0 AND package_size > 0),
    CONSTRAINT ck_product_prices_forward CHECK (effective_from < effective_to),
    CONSTRAINT fk_product_prices_product FOREIGN KEY(product) REFERENCES products (key)
);

CREATE INDEX ix_product_prices_product ON product_prices (product, currency, effective_from);

CREATE UNIQUE INDEX uq_product_prices_open ON product_prices (product, currency) WHERE effective_to IS NULL;

CREATE TABLE balance_entries (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    invoice_id UUID,
    payment_id UUID,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_balance_entries PRIMARY KEY (id),
    CONSTRAINT fk_balance_entries_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_balance_entries_key UNIQUE (key)
);

CREATE INDEX ix_balance_entries_account ON balance_entries (account_id, at);

CREATE TABLE billing_audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    account_id UUID,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail JSONB NOT NULL,
    correlation_id TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    real_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_audit PRIMARY KEY (id),
    CONSTRAINT fk_billing_audit_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_billing_audit_account ON billing_audit (account_id, id);

CREATE INDEX ix_billing_audit_subject ON billing_audit (subject, id);

CREATE TABLE billing_events (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    billing_id UUID NOT NULL,
    status_before TEXT NOT NULL,
    status_after TEXT NOT NULL,
    detail JSONB NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_events PRIMARY KEY (id),
    CONSTRAINT fk_billing_events_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_billing_events_record ON billing_events (account_id, billing_id, at);

CREATE TABLE billing_idempotency (
    scope TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    account_id UUID,
    request_hash TEXT NOT NULL,
    resource_id UUID NOT NULL,
    lease UUID NOT NULL,
    lease_until TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    status SMALLINT,
    media_type TEXT,
    body BYTEA,
    CONSTRAINT pk_billing_idempotency PRIMARY KEY (scope, route, key),
    CONSTRAINT ck_billing_idempotency_answer_whole CHECK ((status IS NULL) = (body IS NULL)),
    CONSTRAINT ck_billing_idempotency_scope CHECK (scope = coalesce(account_id::text, '*')),
    CONSTRAINT fk_billing_idempotency_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_billing_idempotency_expires ON billing_idempotency (expires_at);

CREATE TABLE billing_quotas (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    owner TEXT NOT NULL,
    meter TEXT NOT NULL,
    window_kind TEXT NOT NULL,
    span_seconds INTEGER,
    limit_amount NUMERIC(27, 12) NOT NULL,
    is_hard BOOLEAN NOT NULL,
    alert_percents INTEGER[] NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    used NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    used_before NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    plain_until TIMESTAMP WITH TIME ZONE,
    plain_below NUMERIC(27, 12),
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_quotas PRIMARY KEY (id),
    CONSTRAINT uq_billing_quotas_account_id_meter_owner_window_kind UNIQUE (account_id, meter, owner, window_kind),
    CONSTRAINT ck_billing_quotas_used_not_negative CHECK (used >= 0),
    CONSTRAINT fk_billing_quotas_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
)
 WITH (fillfactor = 50);

CREATE TABLE budgets (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    measure TEXT NOT NULL,
    meter TEXT DEFAULT '' NOT NULL,
    window_kind TEXT NOT NULL,
    limit_amount NUMERIC(27, 12) NOT NULL,
    alert_percents INTEGER[] NOT NULL,
    is_blocking BOOLEAN NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_budgets PRIMARY KEY (id),
    CONSTRAINT uq_budgets_account_id_measure_meter_window_kind_is_blocking UNIQUE (account_id, measure, meter, window_kind, is_blocking),
    CONSTRAINT ck_budgets_measure_known CHECK (measure IN ('meter', 'credits', 'money')),
    CONSTRAINT ck_budgets_meter_named CHECK ((measure = 'meter') = (meter <> '')),
    CONSTRAINT ck_budgets_window_known CHECK (window_kind IN ('month', 'cycle')),
    CONSTRAINT ck_budgets_limit_not_negative CHECK (limit_amount >= 0),
    CONSTRAINT fk_budgets_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE TABLE credit_balances (
    account_id UUID NOT NULL,
    balance NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    held NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    debt NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    overdraft NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    top_up_below NUMERIC(27, 12),
    top_up_from TIMESTAMP WITH TIME ZONE,
    top_up_open BOOLEAN DEFAULT false NOT NULL,
    low_below NUMERIC(27, 12),
    used NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    currency TEXT,
    period_id UUID,
    budget_mode TEXT,
    event_seq BIGINT DEFAULT '0' NOT NULL,
    seq BIGINT DEFAULT '0' NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE,
    next_expiry TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_credit_balances PRIMARY KEY (account_id),
    CONSTRAINT ck_credit_balances_amounts CHECK (least(balance - held, held, debt, overdraft, used, top_up_below, low_below) >= 0),
    CONSTRAINT ck_credit_balances_currency_iso CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT fk_credit_balances_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
)
 WITH (fillfactor = 50);

CREATE TABLE credit_holds (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    status TEXT NOT NULL,
    amount NUMERIC(27, 12) NOT NULL,
    captured NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    scope TEXT,
    paid_only BOOLEAN DEFAULT false NOT NULL,
    reason TEXT NOT NULL,
    subject TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    resolved_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_credit_holds PRIMARY KEY (id),
    CONSTRAINT ck_credit_holds_amounts CHECK (amount > 0 AND least(captured, amount - captured) >= 0 AND (captured > 0) = (status = 'captured')),
    CONSTRAINT ck_credit_holds_status_known CHECK (status IN ('open', 'captured', 'released', 'expired') AND (status = 'open') = (resolved_at IS NULL)),
    CONSTRAINT fk_credit_holds_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_credit_holds_key UNIQUE (key)
);

CREATE INDEX ix_credit_holds_account ON credit_holds (account_id, id);

CREATE INDEX ix_credit_holds_open ON credit_holds (account_id, expires_at) WHERE status = 'open';

CREATE TABLE credit_lots (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    kind TEXT NOT NULL,
    scope TEXT,
    priority INTEGER NOT NULL,
    is_paid BOOLEAN NOT NULL,
    amount NUMERIC(27, 12) NOT NULL,
    remaining NUMERIC(27, 12) NOT NULL,
    held NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    claimed NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    clawed NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    lost NUMERIC(27, 12) DEFAULT '0' NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    is_open BOOLEAN NOT NULL,
    grant_key TEXT NOT NULL,
    granted_seq BIGINT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    noticed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_credit_lots PRIMARY KEY (id),
    CONSTRAINT ck_credit_lots_kind_known CHECK (amount > 0 AND kind IN ('trial', 'plan', 'purchase', 'adjustment', 'refund', 'dispute')),
    CONSTRAINT ck_credit_lots_amounts CHECK (least(amount - remaining, remaining - held, held - claimed, claimed, clawed, lost, amount - clawed - claimed - lost) >= 0 AND is_open = (remaining > 0)),
    CONSTRAINT fk_credit_lots_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_credit_lots_grant_key UNIQUE (grant_key)
)
 WITH (fillfactor = 50);

CREATE INDEX ix_credit_lots_account ON credit_lots (account_id, granted_seq);

CREATE INDEX ix_credit_lots_burn ON credit_lots (account_id, (scope IS NULL), priority, expires_at, is_paid, granted_seq) WHERE is_open;

CREATE TABLE events (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    type TEXT NOT NULL,
    data JSONB NOT NULL,
    correlation_id TEXT,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    published_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_events PRIMARY KEY (id),
    CONSTRAINT uq_events_account_id_seq UNIQUE (account_id, seq),
    CONSTRAINT fk_events_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_events_unpublished ON events (created_at) WHERE published_at IS NULL;

CREATE TABLE invoices (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    issuer_id UUID,
    workflow_id TEXT NOT NULL,
    subscription_id UUID,
    purchase_id UUID,
    fact_key TEXT NOT NULL,
    status TEXT NOT NULL,
    series TEXT,
    number TEXT,
    currency TEXT NOT NULL,
    subtotal_minor BIGINT NOT NULL,
    tax_minor BIGINT DEFAULT '0' NOT NULL,
    total_minor BIGINT NOT NULL,
    balance_applied_minor BIGINT DEFAULT '0' NOT NULL,
    amount_due_minor BIGINT NOT NULL,
    amount_paid_minor BIGINT DEFAULT '0' NOT NULL,
    amount_credited_minor BIGINT DEFAULT '0' NOT NULL,
    settlement TEXT,
    collection TEXT DEFAULT 'automatic' NOT NULL,
    period_start TIMESTAMP WITH TIME ZONE,
    period_end TIMESTAMP WITH TIME ZONE,
    cycle_start TIMESTAMP WITH TIME ZONE,
    cycle_end TIMESTAMP WITH TIME ZONE,
    pay_requests INTEGER DEFAULT '0' NOT NULL,
    pay_requested_at TIMESTAMP WITH TIME ZONE,
    pay_method_id UUID,
    payment_reference TEXT,
    content_hash TEXT,
    stripe_invoice_id TEXT,
    issued_on DATE,
    due_at TIMESTAMP WITH TIME ZONE,
    finalized_at TIMESTAMP WITH TIME ZONE,
    paid_at TIMESTAMP WITH TIME ZONE,
    voided_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_invoices PRIMARY KEY (id),
    CONSTRAINT uq_invoices_series_number UNIQUE (series, number),
    CONSTRAINT ck_invoices_total_not_negative CHECK (total_minor >= 0),
    CONSTRAINT ck_invoices_due_not_negative CHECK (amount_due_minor >= 0),
    CONSTRAINT ck_invoices_paid_not_negative CHECK (amount_paid_minor >= 0),
    CONSTRAINT ck_invoices_status_known CHECK (status IN ('draft', 'open', 'paid', 'void', 'uncollectible')),
    CONSTRAINT ck_invoices_numbered CHECK ((status IN ('open', 'paid', 'uncollectible')) <= (number IS NOT NULL)),
    CONSTRAINT fk_invoices_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_invoices_issuer_id FOREIGN KEY(issuer_id) REFERENCES issuers (id),
    CONSTRAINT uq_invoices_fact_key UNIQUE (fact_key),
    CONSTRAINT uq_invoices_payment_reference UNIQUE (payment_reference),
    CONSTRAINT uq_invoices_stripe_invoice_id UNIQUE (stripe_invoice_id)
);

CREATE INDEX ix_invoices_account_created ON invoices (account_id, created_at, id);

CREATE INDEX ix_invoices_account_status_created ON invoices (account_id, status, created_at, id);

CREATE INDEX ix_invoices_subscription ON invoices (subscription_id, created_at);

CREATE INDEX ix_invoices_workflow ON invoices (workflow_id);

CREATE TABLE limit_overrides (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    meter TEXT NOT NULL,
    included NUMERIC(27, 12) NOT NULL,
    beyond TEXT NOT NULL,
    prices JSONB NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    effective_to TIMESTAMP WITH TIME ZONE,
    due_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_limit_overrides PRIMARY KEY (id),
    CONSTRAINT ck_limit_overrides_included_not_negative CHECK (included >= 0),
    CONSTRAINT ck_limit_overrides_beyond_known CHECK (beyond IN ('block', 'overage', 'notify')),
    CONSTRAINT ck_limit_overrides_overage_has_prices CHECK ((beyond = 'overage') = (prices <> '{}')),
    CONSTRAINT ck_limit_overrides_forward CHECK (effective_from < effective_to),
    CONSTRAINT fk_limit_overrides_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_limit_overrides_meter FOREIGN KEY(meter) REFERENCES meters (key)
);

CREATE INDEX ix_limit_overrides_due ON limit_overrides (account_id) WHERE due_at IS NOT NULL;

CREATE UNIQUE INDEX uq_limit_overrides_account ON limit_overrides (account_id, meter, effective_from);

CREATE TABLE matters (
    workflow_id TEXT NOT NULL,
    account_id UUID NOT NULL,
    kind TEXT NOT NULL,
    subject_id UUID NOT NULL,
    status TEXT DEFAULT 'open' NOT NULL,
    words TEXT DEFAULT '' NOT NULL,
    revision INTEGER DEFAULT '0' NOT NULL,
    next_due TIMESTAMP WITH TIME ZONE,
    next_step TEXT,
    next_key TEXT,
    correlation_id TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    woken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_matters PRIMARY KEY (workflow_id),
    CONSTRAINT fk_matters_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_matters_account_due ON matters (account_id, next_due);

CREATE INDEX ix_matters_left_behind ON matters (woken_at) WHERE started_at IS NULL AND closed_at IS NULL;

CREATE INDEX ix_matters_open ON matters (workflow_id) WHERE closed_at IS NULL;

CREATE INDEX ix_matters_overdue ON matters (next_due) WHERE closed_at IS NULL AND status = 'open';

CREATE INDEX ix_matters_resting ON matters (next_due) WHERE closed_at IS NULL AND status = 'resting';

CREATE TABLE payment_methods (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    kind TEXT DEFAULT 'card' NOT NULL,
    provider TEXT DEFAULT 'stripe' NOT NULL,
    stripe_payment_method_id TEXT NOT NULL,
    brand TEXT,
    last4 TEXT,
    exp_month INTEGER,
    exp_year INTEGER,
    fingerprint TEXT,
    country TEXT,
    label TEXT,
    is_default BOOLEAN DEFAULT 'false' NOT NULL,
    status TEXT DEFAULT 'active' NOT NULL,
    barred_at TIMESTAMP WITH TIME ZONE,
    chosen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    removed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_payment_methods PRIMARY KEY (id),
    CONSTRAINT ck_payment_methods_kind_known CHECK (kind IN ('card', 'bank_transfer', 'other')),
    CONSTRAINT ck_payment_methods_status_known CHECK (status IN ('active', 'removing', 'detached')),
    CONSTRAINT ck_payment_methods_default_is_active CHECK (status = 'active' OR NOT is_default),
    CONSTRAINT fk_payment_methods_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_payment_methods_stripe_payment_method_id UNIQUE (stripe_payment_method_id)
);

CREATE INDEX ix_payment_methods_account ON payment_methods (account_id, created_at, id);

CREATE UNIQUE INDEX uq_payment_methods_default ON payment_methods (account_id) WHERE is_default AND status = 'active';

CREATE TABLE price_overrides (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    product TEXT NOT NULL,
    currency TEXT NOT NULL,
    model TEXT NOT NULL,
    unit_price NUMERIC(27, 12) NOT NULL,
    package_size NUMERIC(27, 12) NOT NULL,
    free_units NUMERIC(27, 12) NOT NULL,
    tiers JSONB NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    effective_to TIMESTAMP WITH TIME ZONE,
    source TEXT DEFAULT 'agreed' NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_price_overrides PRIMARY KEY (id),
    CONSTRAINT ck_price_overrides_currency_known CHECK (currency ~ '^([A-Z]{3}|CREDIT)$'),
    CONSTRAINT ck_price_overrides_model_known CHECK (model IN ('flat', 'per_unit', 'graduated', 'volume', 'package')),
    CONSTRAINT ck_price_overrides_amounts CHECK (unit_price >= 0 AND free_units >= 0 AND package_size > 0),
    CONSTRAINT ck_price_overrides_forward CHECK (effective_from < effective_to),
    CONSTRAINT ck_price_overrides_source_known CHECK (source IN ('agreed', 'service')),
    CONSTRAINT fk_price_overrides_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_price_overrides_product FOREIGN KEY(product) REFERENCES products (key)
);

CREATE INDEX ix_price_overrides_account ON price_overrides (account_id, product, currency, effective_from);

CREATE UNIQUE INDEX uq_price_overrides_open ON price_overrides (account_id, product, currency) WHERE effective_to IS NULL;

CREATE TABLE steps (
    key TEXT NOT NULL,
    workflow_id TEXT NOT NULL,
    account_id UUID NOT NULL,
    name TEXT NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ran_at TIMESTAMP WITH TIME ZONE NOT NULL,
    real_ran_at TIMESTAMP WITH TIME ZONE NOT NULL,
    result TEXT DEFAULT '' NOT NULL,
    event_id TEXT,
    CONSTRAINT pk_steps PRIMARY KEY (key),
    CONSTRAINT fk_steps_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_steps_account ON steps (account_id, ran_at);

CREATE INDEX ix_steps_workflow ON steps (workflow_id, ran_at);

CREATE TABLE stripe_webhook_events (
    stripe_event_id TEXT NOT NULL,
    account_id UUID,
    workflow_id TEXT,
    type TEXT NOT NULL,
    object_id TEXT,
    payload JSONB NOT NULL,
    status TEXT DEFAULT 'received' NOT NULL,
    error TEXT,
    deliveries INTEGER DEFAULT '1' NOT NULL,
    replays INTEGER DEFAULT '0' NOT NULL,
    source TEXT DEFAULT 'webhook' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE,
    received_at TIMESTAMP WITH TIME ZONE NOT NULL,
    dispatched_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_stripe_webhook_events PRIMARY KEY (stripe_event_id),
    CONSTRAINT fk_stripe_webhook_events_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_stripe_webhook_events_account ON stripe_webhook_events (account_id, received_at);

CREATE INDEX ix_stripe_webhook_events_for_matter ON stripe_webhook_events (workflow_id) WHERE status = 'received';

CREATE INDEX ix_stripe_webhook_events_object ON stripe_webhook_events (object_id);

CREATE INDEX ix_stripe_webhook_events_waiting ON stripe_webhook_events (received_at) WHERE status IN ('received', 'unmatched');

CREATE TABLE subscriptions (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    plan_id UUID NOT NULL,
    plan_key TEXT NOT NULL,
    price_id UUID NOT NULL,
    currency TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    interval_unit TEXT NOT NULL,
    interval_count INTEGER NOT NULL,
    status TEXT NOT NULL,
    anchor_wall TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    zone TEXT NOT NULL,
    period_number INTEGER DEFAULT '0' NOT NULL,
    current_period_start TIMESTAMP WITH TIME ZONE NOT NULL,
    current_period_end TIMESTAMP WITH TIME ZONE NOT NULL,
    cycle_start TIMESTAMP WITH TIME ZONE NOT NULL,
    cycle_end TIMESTAMP WITH TIME ZONE NOT NULL,
    trial_end TIMESTAMP WITH TIME ZONE,
    trial_end_behavior TEXT DEFAULT 'cancel' NOT NULL,
    cancel_at_period_end BOOLEAN DEFAULT 'false' NOT NULL,
    canceled_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    end_reason TEXT,
    incomplete_expires_at TIMESTAMP WITH TIME ZONE,
    superseded_at TIMESTAMP WITH TIME ZONE,
    billing_threshold_minor BIGINT,
    stripe_subscription_id TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_subscriptions PRIMARY KEY (id),
    CONSTRAINT ck_subscriptions_status_known CHECK (status IN ('incomplete', 'incomplete_expired', 'trialing', 'active', 'past_due', 'unpaid', 'paused', 'canceled')),
    CONSTRAINT ck_subscriptions_billing_threshold_positive CHECK (billing_threshold_minor > 0),
    CONSTRAINT ck_subscriptions_period_forward CHECK (current_period_start < current_period_end),
    CONSTRAINT fk_subscriptions_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_subscriptions_plan_id FOREIGN KEY(plan_id) REFERENCES plans (id),
    CONSTRAINT fk_subscriptions_price_id FOREIGN KEY(price_id) REFERENCES prices (id),
    CONSTRAINT uq_subscriptions_stripe_subscription_id UNIQUE (stripe_subscription_id)
);

CREATE INDEX ix_subscriptions_account_created ON subscriptions (account_id, created_at, id);

CREATE UNIQUE INDEX uq_subscriptions_one_open ON subscriptions (account_id) WHERE status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused');

CREATE TABLE top_ups (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    status TEXT NOT NULL,
    pack TEXT NOT NULL,
    threshold NUMERIC(27, 12) NOT NULL,
    available NUMERIC(27, 12) NOT NULL,
    purchase_id UUID,
    amount_minor BIGINT,
    currency TEXT,
    reason TEXT,
    wanted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_top_ups PRIMARY KEY (id),
    CONSTRAINT ck_top_ups_status_known CHECK (status IN ('wanted', 'buying', 'completed', 'failed', 'capped', 'dropped')),
    CONSTRAINT ck_top_ups_decided_once CHECK ((status IN ('wanted', 'buying')) = (decided_at IS NULL)),
    CONSTRAINT ck_top_ups_bought_by CHECK (status NOT IN ('buying', 'completed') OR purchase_id IS NOT NULL),
    CONSTRAINT fk_top_ups_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_top_ups_purchase_id UNIQUE (purchase_id)
);

CREATE INDEX ix_top_ups_account ON top_ups (account_id, wanted_at, id);

CREATE UNIQUE INDEX uq_top_ups_undecided ON top_ups (account_id) WHERE status IN ('wanted', 'buying');

CREATE TABLE trials (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    kind TEXT NOT NULL,
    identity_hash TEXT,
    status TEXT NOT NULL,
    credits NUMERIC(27, 12) NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_trials PRIMARY KEY (id),
    CONSTRAINT uq_trials_account_id_kind UNIQUE (account_id, kind),
    CONSTRAINT ck_trials_status_known CHECK (status IN ('active', 'expired', 'converted')),
    CONSTRAINT fk_trials_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE UNIQUE INDEX uq_trials_identity ON trials (kind, identity_hash) WHERE identity_hash IS NOT NULL;

CREATE TABLE usage_alerts (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    subject TEXT NOT NULL,
    meter TEXT NOT NULL,
    owner TEXT NOT NULL,
    threshold INTEGER NOT NULL,
    window_start TIMESTAMP WITH TIME ZONE NOT NULL,
    limit_amount NUMERIC(27, 12) NOT NULL,
    used_amount NUMERIC(27, 12) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_usage_alerts PRIMARY KEY (id),
    CONSTRAINT uq_usage_alerts_account_id_subject_meter_window_start_threshold UNIQUE (account_id, subject, meter, window_start, threshold),
    CONSTRAINT fk_usage_alerts_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_usage_alerts_account ON usage_alerts (account_id, created_at, id);

CREATE TABLE usage_periods (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    start_at TIMESTAMP WITH TIME ZONE NOT NULL,
    end_at TIMESTAMP WITH TIME ZONE NOT NULL,
    zone TEXT NOT NULL,
    subscription_id UUID,
    currency TEXT,
    limits JSONB NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    late_at TIMESTAMP WITH TIME ZONE,
    threshold_at TIMESTAMP WITH TIME ZONE,
    threshold_number INTEGER DEFAULT '0' NOT NULL,
    CONSTRAINT pk_usage_periods PRIMARY KEY (id),
    CONSTRAINT uq_usage_periods_account_id_start_at UNIQUE (account_id, start_at),
    CONSTRAINT ck_usage_periods_forward CHECK (start_at < end_at),
    CONSTRAINT fk_usage_periods_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
)
 WITH (fillfactor = 80);

CREATE INDEX ix_usage_periods_late ON usage_periods (account_id) WHERE late_at IS NOT NULL;

CREATE INDEX ix_usage_periods_threshold ON usage_periods (account_id) WHERE threshold_at IS NOT NULL;

CREATE TABLE usage_settlements (
    account_id UUID NOT NULL,
    invoice TEXT NOT NULL,
    meter TEXT NOT NULL,
    start_at TIMESTAMP WITH TIME ZONE NOT NULL,
    part INTEGER NOT NULL,
    records UUID[] NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_usage_settlements PRIMARY KEY (account_id, invoice, meter, start_at, part),
    CONSTRAINT fk_usage_settlements_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE TABLE credit_notes (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    fact_key TEXT NOT NULL,
    series TEXT NOT NULL,
    number TEXT NOT NULL,
    reason TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    issued_on DATE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_credit_notes PRIMARY KEY (id),
    CONSTRAINT uq_credit_notes_series_number UNIQUE (series, number),
    CONSTRAINT ck_credit_notes_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT fk_credit_notes_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_credit_notes_invoice_id FOREIGN KEY(invoice_id) REFERENCES invoices (id),
    CONSTRAINT uq_credit_notes_fact_key UNIQUE (fact_key)
);

CREATE INDEX ix_credit_notes_account ON credit_notes (account_id, created_at);

CREATE TABLE dunning_cases (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    subscription_id UUID,
    status TEXT NOT NULL,
    policy JSONB NOT NULL,
    zone TEXT NOT NULL,
    day_zero_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_slot INTEGER NOT NULL,
    last_slot_ran_at TIMESTAMP WITH TIME ZONE NOT NULL,
    last_true_attempt_at TIMESTAMP WITH TIME ZONE NOT NULL,
    extended_days INTEGER DEFAULT '0' NOT NULL,
    paused_at TIMESTAMP WITH TIME ZONE,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    close_reason TEXT,
    CONSTRAINT pk_dunning_cases PRIMARY KEY (id),
    CONSTRAINT ck_dunning_cases_status_known CHECK (status IN ('open', 'paused', 'recovered', 'exhausted', 'forgiven', 'canceled')),
    CONSTRAINT fk_dunning_cases_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_dunning_cases_invoice_id UNIQUE (invoice_id),
    CONSTRAINT fk_dunning_cases_invoice_id FOREIGN KEY(invoice_id) REFERENCES invoices (id)
);

CREATE INDEX ix_dunning_cases_account ON dunning_cases (account_id, opened_at);

CREATE INDEX ix_dunning_cases_status ON dunning_cases (status);

CREATE TABLE invoice_lines (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    quantity NUMERIC(27, 12) NOT NULL,
    unit_amount NUMERIC(27, 12) NOT NULL,
    amount_minor BIGINT NOT NULL,
    period_start TIMESTAMP WITH TIME ZONE,
    period_end TIMESTAMP WITH TIME ZONE,
    detail JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_invoice_lines PRIMARY KEY (id),
    CONSTRAINT uq_invoice_lines_invoice_id_position UNIQUE (invoice_id, position),
    CONSTRAINT fk_invoice_lines_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_invoice_lines_invoice_id FOREIGN KEY(invoice_id) REFERENCES invoices (id)
);

CREATE INDEX ix_invoice_lines_usage ON invoice_lines (account_id, period_start) WHERE kind = 'usage';

CREATE TABLE payments (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    workflow_id TEXT NOT NULL,
    flow TEXT NOT NULL,
    intent_key TEXT NOT NULL,
    status TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    received_minor BIGINT DEFAULT '0' NOT NULL,
    currency TEXT NOT NULL,
    payment_method_id UUID,
    stripe_payment_intent_id TEXT,
    stripe_checkout_session_id TEXT,
    stripe_charge_id TEXT,
    client_secret TEXT,
    redirect_url TEXT,
    failure_code TEXT,
    failure_message TEXT,
    failure_class TEXT,
    offered_at TIMESTAMP WITH TIME ZONE,
    manual_method TEXT,
    transaction_reference TEXT,
    submitted_by TEXT,
    decided_by TEXT,
    decided_at TIMESTAMP WITH TIME ZONE,
    decision_reason TEXT,
    checks INTEGER DEFAULT '0' NOT NULL,
    last_check_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    paid_at TIMESTAMP WITH TIME ZONE,
    settled_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_payments PRIMARY KEY (id),
    CONSTRAINT ck_payments_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT ck_payments_status_known CHECK (status IN ('pending', 'pending_approval', 'processing', 'succeeded', 'completed', 'failed', 'refunded', 'canceled')),
    CONSTRAINT fk_payments_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_payments_invoice_id FOREIGN KEY(invoice_id) REFERENCES invoices (id),
    CONSTRAINT uq_payments_intent_key UNIQUE (intent_key),
    CONSTRAINT fk_payments_payment_method_id FOREIGN KEY(payment_method_id) REFERENCES payment_methods (id),
    CONSTRAINT uq_payments_stripe_payment_intent_id UNIQUE (stripe_payment_intent_id),
    CONSTRAINT uq_payments_stripe_checkout_session_id UNIQUE (stripe_checkout_session_id)
);

CREATE INDEX ix_payments_account_created ON payments (account_id, created_at, id);

CREATE INDEX ix_payments_invoice ON payments (invoice_id, created_at);

CREATE UNIQUE INDEX uq_payments_one_collector ON payments (invoice_id) WHERE status IN ('pending', 'pending_approval', 'processing') AND NOT (flow = 'manual' AND status = 'pending');

CREATE UNIQUE INDEX uq_payments_one_submission ON payments (invoice_id) WHERE flow = 'manual' AND status IN ('pending', 'pending_approval');

CREATE UNIQUE INDEX uq_payments_reference ON payments (account_id, transaction_reference) WHERE transaction_reference IS NOT NULL AND status NOT IN ('failed', 'canceled');

CREATE TABLE purchases (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    pack TEXT NOT NULL,
    pack_name TEXT NOT NULL,
    credits NUMERIC(27, 12) NOT NULL,
    amount_minor BIGINT NOT NULL,
    currency TEXT NOT NULL,
    platform TEXT NOT NULL,
    flow TEXT NOT NULL,
    payment_method_id UUID,
    status TEXT NOT NULL,
    invoice_id UUID NOT NULL,
    return_url TEXT,
    top_up_id UUID,
    failure_code TEXT,
    failure_message TEXT,
    correlation_id TEXT,
    created_by TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    completed_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    archived_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_purchases PRIMARY KEY (id),
    CONSTRAINT ck_purchases_status_known CHECK (status IN ('pending', 'completed', 'failed', 'expired', 'refunded')),
    CONSTRAINT fk_purchases_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_purchases_payment_method_id FOREIGN KEY(payment_method_id) REFERENCES payment_methods (id),
    CONSTRAINT fk_purchases_invoice_id FOREIGN KEY(invoice_id) REFERENCES invoices (id),
    CONSTRAINT fk_purchases_top_up_id FOREIGN KEY(top_up_id) REFERENCES top_ups (id)
);

CREATE INDEX ix_purchases_account_created ON purchases (account_id, created_at, id);

CREATE INDEX ix_purchases_invoice ON purchases (invoice_id);

CREATE TABLE setup_intents (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    stripe_setup_intent_id TEXT,
    client_secret TEXT,
    status TEXT NOT NULL,
    make_default BOOLEAN NOT NULL,
    payment_method_id UUID,
    checks INTEGER DEFAULT '0' NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_setup_intents PRIMARY KEY (id),
    CONSTRAINT ck_setup_intents_status_known CHECK (status IN ('pending', 'waiting', 'action', 'processing', 'failed', 'succeeded', 'canceled', 'refused', 'expired')),
    CONSTRAINT fk_setup_intents_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_setup_intents_stripe_setup_intent_id UNIQUE (stripe_setup_intent_id),
    CONSTRAINT fk_setup_intents_payment_method_id FOREIGN KEY(payment_method_id) REFERENCES payment_methods (id)
);

CREATE INDEX ix_setup_intents_account ON setup_intents (account_id, created_at);

CREATE INDEX ix_setup_intents_unfinished ON setup_intents (account_id, created_at) WHERE finished_at IS NULL;

CREATE TABLE subscription_items (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    kind TEXT NOT NULL,
    price_id UUID,
    description TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    next_quantity INTEGER,
    amount_minor BIGINT NOT NULL,
    add_on TEXT,
    meter TEXT,
    units NUMERIC(27, 12),
    CONSTRAINT pk_subscription_items PRIMARY KEY (id),
    CONSTRAINT ck_subscription_items_quantity_positive CHECK (quantity > 0),
    CONSTRAINT ck_subscription_items_next_quantity_less CHECK (next_quantity BETWEEN 0 AND quantity - 1),
    CONSTRAINT ck_subscription_items_add_on_whole CHECK ((kind = 'add_on') = (num_nonnulls(add_on, meter, units) = 3) AND (kind = 'add_on') = (price_id IS NULL)),
    CONSTRAINT uq_subscription_items_subscription_id_add_on UNIQUE (subscription_id, add_on),
    CONSTRAINT fk_subscription_items_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_subscription_items_subscription_id FOREIGN KEY(subscription_id) REFERENCES subscriptions (id),
    CONSTRAINT fk_subscription_items_price_id FOREIGN KEY(price_id) REFERENCES prices (id)
);

CREATE INDEX ix_subscription_items_subscription ON subscription_items (subscription_id);

CREATE TABLE top_up_settings (
    account_id UUID NOT NULL,
    is_enabled BOOLEAN NOT NULL,
    threshold NUMERIC(27, 12) NOT NULL,
    pack TEXT NOT NULL,
    payment_method_id UUID,
    monthly_cap_minor BIGINT,
    failures INTEGER DEFAULT '0' NOT NULL,
    stopped_at TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_top_up_settings PRIMARY KEY (account_id),
    CONSTRAINT ck_top_up_settings_threshold_positive CHECK (threshold > 0),
    CONSTRAINT ck_top_up_settings_cap_positive CHECK (monthly_cap_minor > 0),
    CONSTRAINT ck_top_up_settings_failures_counted CHECK (failures >= 0),
    CONSTRAINT fk_top_up_settings_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_top_up_settings_payment_method_id FOREIGN KEY(payment_method_id) REFERENCES payment_methods (id)
);

CREATE TABLE payment_attempts (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    payment_id UUID,
    invoice_id UUID NOT NULL,
    key TEXT NOT NULL,
    slot INTEGER,
    payment_method_id UUID,
    status TEXT NOT NULL,
    decline_code TEXT,
    decline_class TEXT,
    message TEXT,
    detail JSONB DEFAULT '{}' NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    real_started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_payment_attempts PRIMARY KEY (id),
    CONSTRAINT fk_payment_attempts_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_payment_attempts_payment_id FOREIGN KEY(payment_id) REFERENCES payments (id),
    CONSTRAINT fk_payment_attempts_invoice_id FOREIGN KEY(invoice_id) REFERENCES invoices (id),
    CONSTRAINT uq_payment_attempts_key UNIQUE (key),
    CONSTRAINT fk_payment_attempts_payment_method_id FOREIGN KEY(payment_method_id) REFERENCES payment_methods (id)
);

CREATE INDEX ix_payment_attempts_invoice ON payment_attempts (invoice_id, started_at);

CREATE UNIQUE INDEX uq_payment_attempts_undecided ON payment_attempts (invoice_id) WHERE status = 'pending';

