CREATE TABLE accounts_to_check (
    account_id UUID NOT NULL,
    job TEXT NOT NULL,
    noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    broken JSONB DEFAULT '[]' NOT NULL,
    CONSTRAINT pk_accounts_to_check PRIMARY KEY (account_id, job)
);

CREATE INDEX ix_accounts_to_check_job ON accounts_to_check (job, account_id);

CREATE TABLE check_rounds (
    job TEXT NOT NULL,
    noted_until TIMESTAMP WITH TIME ZONE DEFAULT transaction_timestamp() NOT NULL,
    noted_account UUID DEFAULT '00000000-0000-0000-0000-000000000000' NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_check_rounds PRIMARY KEY (job)
);

CREATE TABLE coupons (
    id UUID NOT NULL,
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    percent NUMERIC(27, 12),
    amounts JSONB DEFAULT '{}' NOT NULL,
    duration TEXT NOT NULL,
    periods INTEGER,
    kinds JSONB DEFAULT '[]' NOT NULL,
    sold JSONB DEFAULT '[]' NOT NULL,
    first_purchase BOOLEAN DEFAULT 'false' NOT NULL,
    verified_as TEXT,
    max_redemptions INTEGER,
    max_per_account INTEGER DEFAULT '1' NOT NULL,
    redeemed INTEGER DEFAULT '0' NOT NULL,
    valid_from TIMESTAMP WITH TIME ZONE,
    valid_until TIMESTAMP WITH TIME ZONE,
    is_active BOOLEAN DEFAULT 'true' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_coupons PRIMARY KEY (id),
    CONSTRAINT uq_coupons_code UNIQUE (code),
    CONSTRAINT ck_coupons_percent_or_amounts CHECK ((percent IS NULL) <> (amounts = '{}'::jsonb)),
    CONSTRAINT ck_coupons_percent_of_a_whole CHECK (percent > 0 AND percent <= 100),
    CONSTRAINT ck_coupons_duration_known CHECK (duration IN ('once', 'repeating', 'forever')),
    CONSTRAINT ck_coupons_periods_repeat CHECK ((duration = 'repeating') = (periods IS NOT NULL)),
    CONSTRAINT ck_coupons_counts_positive CHECK (periods > 0 AND max_redemptions > 0 AND max_per_account > 0),
    CONSTRAINT ck_coupons_redeemed_counted CHECK (redeemed >= 0)
);

CREATE TABLE default_plan (
    is_only BOOLEAN NOT NULL,
    plan_key TEXT,
    CONSTRAINT pk_default_plan PRIMARY KEY (is_only),
    CONSTRAINT ck_default_plan_is_only CHECK (is_only)
);

CREATE TABLE integrity_runs (
    is_latest BOOLEAN DEFAULT 'true' NOT NULL,
    ran_at TIMESTAMP WITH TIME ZONE NOT NULL,
    checks INTEGER NOT NULL,
    wrong JSONB NOT NULL,
    accounts INTEGER,
    whole_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_integrity_runs PRIMARY KEY (is_latest)
);

CREATE TABLE issuer_logos (
    sha256 TEXT NOT NULL,
    content BYTEA NOT NULL,
    CONSTRAINT pk_issuer_logos PRIMARY KEY (sha256)
);

CREATE TABLE job_runs (
    job TEXT NOT NULL,
    looked_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_job_runs PRIMARY KEY (job)
);

CREATE TABLE month_files (
    id UUID NOT NULL,
    month DATE NOT NULL,
    until DATE NOT NULL,
    file TEXT NOT NULL,
    digest TEXT NOT NULL,
    rows_digest TEXT NOT NULL,
    records BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    written_at TIMESTAMP WITH TIME ZONE NOT NULL,
    detached_at TIMESTAMP WITH TIME ZONE,
    returned_at TIMESTAMP WITH TIME ZONE,
    is_away BOOLEAN GENERATED ALWAYS AS (detached_at IS NOT NULL AND returned_at IS NULL) STORED NOT NULL,
    CONSTRAINT pk_month_files PRIMARY KEY (id),
    CONSTRAINT ck_month_files_away_before_back CHECK (returned_at IS NULL OR detached_at IS NOT NULL)
);

CREATE UNIQUE INDEX uq_month_files_away ON month_files (month) WHERE is_away;

CREATE TABLE parkings (
    id UUID NOT NULL,
    reason TEXT NOT NULL,
    data_until TIMESTAMP WITH TIME ZONE,
    parked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_parkings PRIMARY KEY (id)
);

CREATE UNIQUE INDEX uq_parkings_open ON parkings ((ended_at IS NULL)) WHERE ended_at IS NULL;

CREATE TABLE past_credit_costs (
    operation TEXT NOT NULL,
    effective_to TIMESTAMP WITH TIME ZONE NOT NULL,
    cost NUMERIC(27, 12),
    CONSTRAINT pk_past_credit_costs PRIMARY KEY (operation, effective_to),
    CONSTRAINT ck_past_credit_costs_cost_not_negative CHECK (cost >= 0)
);

CREATE TABLE payment_method_configs (
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    provider TEXT NOT NULL,
    countries TEXT[] DEFAULT '{}' NOT NULL,
    currencies TEXT[] DEFAULT '{}' NOT NULL,
    position INTEGER DEFAULT '0' NOT NULL,
    is_active BOOLEAN NOT NULL,
    CONSTRAINT pk_payment_method_configs PRIMARY KEY (key),
    CONSTRAINT ck_payment_method_configs_kind_known CHECK (kind IN ('card', 'bank_transfer', 'other')),
    CONSTRAINT ck_payment_method_configs_provider_known CHECK (provider IN ('stripe', 'manual', 'paypal'))
);

CREATE TABLE processes (
    id UUID NOT NULL,
    kind TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    beats BIGINT NOT NULL,
    clock_ahead_ms BIGINT NOT NULL,
    figures JSONB NOT NULL,
    CONSTRAINT pk_processes PRIMARY KEY (id)
);

CREATE TABLE proven_books (
    account_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    balance NUMERIC(27, 12) NOT NULL,
    used NUMERIC(27, 12) NOT NULL,
    debt NUMERIC(27, 12) NOT NULL,
    lots JSONB NOT NULL,
    day TIMESTAMP WITH TIME ZONE NOT NULL,
    is_due BOOLEAN DEFAULT 'false' NOT NULL,
    CONSTRAINT pk_proven_books PRIMARY KEY (account_id)
);

CREATE TABLE proven_series (
    series TEXT NOT NULL,
    up_to BIGINT NOT NULL,
    whole_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_proven_series PRIMARY KEY (series)
);

CREATE TABLE quota_slices (
    account_id UUID NOT NULL,
    quota_id UUID NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used NUMERIC(38, 12) NOT NULL,
    CONSTRAINT pk_quota_slices PRIMARY KEY (quota_id, ends_at)
);

CREATE UNLOGGED TABLE rate_windows (
    name TEXT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    taken BIGINT NOT NULL,
    CONSTRAINT pk_rate_windows PRIMARY KEY (name)
);

CREATE TABLE reconciliations (
    id UUID NOT NULL,
    since_at TIMESTAMP WITH TIME ZONE NOT NULL,
    until_at TIMESTAMP WITH TIME ZONE NOT NULL,
    is_whole BOOLEAN NOT NULL,
    heal BOOLEAN NOT NULL,
    place JSONB DEFAULT '{}',
    checked JSONB DEFAULT '{}' NOT NULL,
    discrepancies JSONB DEFAULT '[]' NOT NULL,
    is_alarming BOOLEAN DEFAULT 'false' NOT NULL,
    error TEXT,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_reconciliations PRIMARY KEY (id)
);

CREATE INDEX ix_reconciliations_started ON reconciliations (started_at, id);

CREATE TABLE skipped_events (
    id UUID NOT NULL,
    first_number BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_skipped_events PRIMARY KEY (id),
    CONSTRAINT uq_skipped_events_last_number UNIQUE (last_number),
    CONSTRAINT ck_skipped_events_at_least_one CHECK (first_number <= last_number)
);

CREATE TABLE skipped_numbers (
    id UUID NOT NULL,
    series TEXT NOT NULL,
    first_number BIGINT NOT NULL,
    last_number BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_skipped_numbers PRIMARY KEY (id),
    CONSTRAINT uq_skipped_numbers_series_first_number UNIQUE (series, first_number),
    CONSTRAINT ck_skipped_numbers_at_least_one CHECK (first_number <= last_number)
);

CREATE TABLE tax_jurisdictions (
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    rates JSONB NOT NULL,
    later JSONB DEFAULT '[]' NOT NULL,
    instead_of_country BOOLEAN DEFAULT 'false' NOT NULL,
    CONSTRAINT pk_tax_jurisdictions PRIMARY KEY (key),
    CONSTRAINT ck_tax_jurisdictions_only_regions_replace CHECK (NOT instead_of_country OR key ~ '-')
);

CREATE TABLE tax_terms (
    is_only BOOLEAN NOT NULL,
    included_in JSONB NOT NULL,
    codes JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_tax_terms PRIMARY KEY (is_only),
    CONSTRAINT ck_tax_terms_is_only CHECK (is_only)
);

CREATE TABLE usage_months (
    month DATE NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_usage_months PRIMARY KEY (month)
);

CREATE TABLE billing_addresses (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    user_id TEXT,
    line1 TEXT NOT NULL,
    line2 TEXT,
    city TEXT NOT NULL,
    state TEXT,
    postal_code TEXT,
    country TEXT NOT NULL,
    is_default BOOLEAN DEFAULT 'false' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_addresses PRIMARY KEY (id),
    CONSTRAINT uq_billing_addresses_id_account_id UNIQUE (id, account_id),
    CONSTRAINT ck_billing_addresses_country_is_a_code CHECK (country ~ '^[A-Z]{2}$'),
    CONSTRAINT fk_billing_addresses_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_billing_addresses_account ON billing_addresses (account_id, created_at, id);

CREATE UNIQUE INDEX uq_billing_addresses_default ON billing_addresses (account_id) WHERE is_default;

CREATE TABLE contracts (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    reference TEXT,
    terms JSONB NOT NULL,
    effective_from TIMESTAMP WITH TIME ZONE NOT NULL,
    effective_to TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_contracts PRIMARY KEY (id),
    CONSTRAINT uq_contracts_id_account_id UNIQUE (id, account_id),
    CONSTRAINT ck_contracts_forward CHECK (effective_from < effective_to),
    CONSTRAINT fk_contracts_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE UNIQUE INDEX uq_contracts_account ON contracts (account_id, effective_from);

CREATE TABLE dropped_events (
    account_id UUID NOT NULL,
    last_number BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_dropped_events PRIMARY KEY (account_id),
    CONSTRAINT fk_dropped_events_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE TABLE dunning_pauses (
    account_id UUID NOT NULL,
    reason TEXT NOT NULL,
    paused_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_dunning_pauses PRIMARY KEY (account_id),
    CONSTRAINT fk_dunning_pauses_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE TABLE migration_requests (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    environment TEXT NOT NULL,
    notes TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    handled_at TIMESTAMP WITH TIME ZONE,
    handled_by TEXT,
    comment TEXT,
    CONSTRAINT pk_migration_requests PRIMARY KEY (id),
    CONSTRAINT ck_migration_requests_environment_known CHECK (environment IN ('sandbox', 'production')),
    CONSTRAINT ck_migration_requests_handled_by_somebody CHECK (num_nulls(handled_at, handled_by, comment) IN (0, 3)),
    CONSTRAINT fk_migration_requests_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_migration_requests_account ON migration_requests (account_id, id);

CREATE INDEX ix_migration_requests_queued ON migration_requests (id) WHERE handled_at IS NULL;

CREATE TABLE portal_sessions (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    return_url TEXT NOT NULL,
    status TEXT NOT NULL,
    url TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_portal_sessions PRIMARY KEY (id),
    CONSTRAINT ck_portal_sessions_status_known CHECK (status IN ('pending', 'open', 'refused')),
    CONSTRAINT fk_portal_sessions_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_portal_sessions_account ON portal_sessions (account_id, created_at);

CREATE INDEX ix_portal_sessions_unfinished ON portal_sessions (account_id, created_at) WHERE finished_at IS NULL;

CREATE TABLE sealed_usage (
    account_id UUID NOT NULL,
    file_id UUID NOT NULL,
    counters JSONB NOT NULL,
    lines JSONB NOT NULL,
    entries BIGINT NOT NULL,
    credits NUMERIC(38, 12) NOT NULL,
    shared JSONB NOT NULL,
    CONSTRAINT pk_sealed_usage PRIMARY KEY (account_id, file_id),
    CONSTRAINT fk_sealed_usage_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_sealed_usage_file_id FOREIGN KEY(file_id) REFERENCES month_files (id)
);

CREATE TABLE tax_profiles (
    account_id UUID NOT NULL,
    exempt_because TEXT,
    vat_id TEXT,
    vat_given_at TIMESTAMP WITH TIME ZONE,
    vat_status TEXT,
    vat_name TEXT,
    vat_proof TEXT,
    vat_decided_at TIMESTAMP WITH TIME ZONE,
    vat_tries INTEGER DEFAULT '0' NOT NULL,
    vat_check_at TIMESTAMP WITH TIME ZONE,
    vat_credit_at TIMESTAMP WITH TIME ZONE,
    vat_turn INTEGER DEFAULT '0' NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_tax_profiles PRIMARY KEY (account_id),
    CONSTRAINT ck_tax_profiles_vat_status_known CHECK (vat_status IN ('pending', 'valid', 'unknown')),
    CONSTRAINT ck_tax_profiles_vat_whole CHECK (num_nonnulls(vat_id, vat_given_at, vat_status) IN (0, 3) AND (vat_decided_at IS NOT NULL) = coalesce(vat_status <> 'pending', false)),
    CONSTRAINT fk_tax_profiles_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_tax_profiles_pending ON tax_profiles (vat_tries) WHERE vat_status = 'pending';

CREATE TABLE tax_quotes (
    account_id UUID NOT NULL,
    wanted TEXT NOT NULL,
    address TEXT,
    jurisdictions JSONB,
    quoted_at TIMESTAMP WITH TIME ZONE,
    ask_at TIMESTAMP WITH TIME ZONE NOT NULL,
    tries INTEGER DEFAULT '0' NOT NULL,
    CONSTRAINT pk_tax_quotes PRIMARY KEY (account_id),
    CONSTRAINT ck_tax_quotes_answer_whole CHECK (num_nonnulls(address, jurisdictions, quoted_at) IN (0, 3)),
    CONSTRAINT fk_tax_quotes_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_tax_quotes_quoted ON tax_quotes (quoted_at);

CREATE INDEX ix_tax_quotes_unanswered ON tax_quotes (tries) WHERE tries > 0;

CREATE TABLE trial_identities (
    kind TEXT NOT NULL,
    identity_hash TEXT NOT NULL,
    account_id UUID NOT NULL,
    CONSTRAINT pk_trial_identities PRIMARY KEY (kind, identity_hash),
    CONSTRAINT fk_trial_identities_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE TABLE unpaid_retries (
    account_id UUID NOT NULL,
    id UUID NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE NOT NULL,
    from_at TIMESTAMP WITH TIME ZONE,
    from_id UUID,
    CONSTRAINT pk_unpaid_retries PRIMARY KEY (account_id),
    CONSTRAINT fk_unpaid_retries_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE TABLE unpaid_uses (
    record_id UUID NOT NULL,
    account_id UUID NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE NOT NULL,
    overdue_at TIMESTAMP WITH TIME ZONE NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE,
    charge_at TIMESTAMP WITH TIME ZONE,
    tried_at TIMESTAMP WITH TIME ZONE,
    tries INTEGER DEFAULT '0' NOT NULL,
    CONSTRAINT pk_unpaid_uses PRIMARY KEY (record_id),
    CONSTRAINT fk_unpaid_uses_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_unpaid_uses_account ON unpaid_uses (account_id, used_at, record_id);

CREATE INDEX ix_unpaid_uses_charge ON unpaid_uses (account_id, charge_at, used_at, record_id) WHERE charge_at IS NOT NULL;

CREATE INDEX ix_unpaid_uses_overdue ON unpaid_uses (overdue_at);

CREATE INDEX ix_unpaid_uses_tried ON unpaid_uses (account_id, tried_at) WHERE tried_at IS NOT NULL;

CREATE INDEX ix_unpaid_uses_untold ON unpaid_uses (account_id, overdue_at) WHERE told_at IS NULL;

CREATE TABLE billing_details (
    account_id UUID NOT NULL,
    legal_name TEXT,
    address_id UUID,
    billing_email TEXT,
    cc_emails JSONB DEFAULT '[]' NOT NULL,
    po_number TEXT,
    memo TEXT,
    custom_fields JSONB DEFAULT '[]' NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_billing_details PRIMARY KEY (account_id),
    CONSTRAINT fk_billing_details_address_id_account_id FOREIGN KEY(address_id, account_id) REFERENCES billing_addresses (id, account_id),
    CONSTRAINT fk_billing_details_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE INDEX ix_billing_details_email ON billing_details (lower(billing_email));

CREATE TABLE invoice_documents (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    kind TEXT NOT NULL,
    etag TEXT NOT NULL,
    content BYTEA NOT NULL,
    rendered_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_invoice_documents PRIMARY KEY (id),
    CONSTRAINT fk_invoice_documents_invoice_id_account_id FOREIGN KEY(invoice_id, account_id) REFERENCES invoices (id, account_id),
    CONSTRAINT uq_invoice_documents_invoice_id_kind UNIQUE (invoice_id, kind),
    CONSTRAINT fk_invoice_documents_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE TABLE invoice_snapshots (
    invoice_id UUID NOT NULL,
    account_id UUID NOT NULL,
    content JSONB NOT NULL,
    CONSTRAINT pk_invoice_snapshots PRIMARY KEY (invoice_id),
    CONSTRAINT fk_invoice_snapshots_invoice_id_account_id FOREIGN KEY(invoice_id, account_id) REFERENCES invoices (id, account_id),
    CONSTRAINT fk_invoice_snapshots_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE TABLE subscription_changes (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    subscription_id UUID NOT NULL,
    kind TEXT NOT NULL,
    wanted JSONB NOT NULL,
    terms JSONB DEFAULT '{}' NOT NULL,
    invoice_id UUID,
    status TEXT NOT NULL,
    reason TEXT,
    expires_at TIMESTAMP WITH TIME ZONE,
    effective_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_subscription_changes PRIMARY KEY (id),
    CONSTRAINT fk_subscription_changes_subscription_id_account_id FOREIGN KEY(subscription_id, account_id) REFERENCES subscriptions (id, account_id),
    CONSTRAINT fk_subscription_changes_invoice_id_account_id FOREIGN KEY(invoice_id, account_id) REFERENCES invoices (id, account_id),
    CONSTRAINT ck_subscription_changes_kind_known CHECK (kind IN ('add_ons', 'extend', 'pause', 'plan', 'price', 'resume')),
    CONSTRAINT ck_subscription_changes_status_known CHECK (status IN ('pending', 'scheduled', 'applied', 'failed', 'expired', 'canceled')),
    CONSTRAINT ck_subscription_changes_decided CHECK ((status IN ('pending', 'scheduled')) = (decided_at IS NULL)),
    CONSTRAINT ck_subscription_changes_has_terms CHECK (terms <> '{}' OR kind NOT IN ('plan', 'price', 'add_ons') OR kind = 'add_ons' AND invoice_id IS NULL),
    CONSTRAINT ck_subscription_changes_paid_first_or_later CHECK (CASE WHEN effective_at IS NULL THEN num_nonnulls(invoice_id, expires_at) = 2 AND status <> 'scheduled' ELSE num_nonnulls(invoice_id, expires_at) = 0 AND status <> 'pending' END),
    CONSTRAINT fk_subscription_changes_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_subscription_changes_invoice_id UNIQUE (invoice_id)
);

CREATE INDEX ix_subscription_changes_account_created ON subscription_changes (account_id, created_at, id);

CREATE INDEX ix_subscription_changes_applied ON subscription_changes (subscription_id, decided_at) WHERE status = 'applied' AND invoice_id IS NOT NULL;

CREATE UNIQUE INDEX uq_subscription_changes_pending ON subscription_changes (subscription_id) WHERE status = 'pending';

CREATE UNIQUE INDEX uq_subscription_changes_scheduled ON subscription_changes (subscription_id, kind) WHERE status = 'scheduled';

CREATE TABLE discounts (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    coupon_id UUID NOT NULL,
    subscription_id UUID,
    purchase_id UUID,
    code TEXT NOT NULL,
    percent NUMERIC(27, 12),
    amount_minor BIGINT,
    kinds JSONB DEFAULT '[]' NOT NULL,
    sold JSONB DEFAULT '[]' NOT NULL,
    use_since TIMESTAMP WITH TIME ZONE,
    use_until TIMESTAMP WITH TIME ZONE,
    is_counted BOOLEAN DEFAULT 'false' NOT NULL,
    is_used BOOLEAN DEFAULT 'false' NOT NULL,
    periods_left INTEGER,
    status TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_discounts PRIMARY KEY (id),
    CONSTRAINT fk_discounts_subscription_id_account_id FOREIGN KEY(subscription_id, account_id) REFERENCES subscriptions (id, account_id),
    CONSTRAINT fk_discounts_purchase_id_account_id FOREIGN KEY(purchase_id, account_id) REFERENCES purchases (id, account_id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT ck_discounts_of_one_thing CHECK (num_nonnulls(subscription_id, purchase_id) = 1),
    CONSTRAINT ck_discounts_percent_or_amount CHECK (num_nonnulls(percent, amount_minor) = 1),
    CONSTRAINT ck_discounts_periods_left_counted CHECK (periods_left >= 0),
    CONSTRAINT ck_discounts_status_known CHECK (status IN ('reserved', 'active', 'ended', 'released')),
    CONSTRAINT ck_discounts_ended CHECK ((status IN ('ended', 'released')) = (ended_at IS NOT NULL)),
    CONSTRAINT fk_discounts_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT fk_discounts_coupon_id FOREIGN KEY(coupon_id) REFERENCES coupons (id)
);

CREATE INDEX ix_discounts_account ON discounts (account_id, created_at, id);

CREATE INDEX ix_discounts_coupon ON discounts (coupon_id, account_id);

CREATE INDEX ix_discounts_purchase ON discounts (purchase_id) WHERE purchase_id IS NOT NULL;

CREATE INDEX ix_discounts_subscription ON discounts (subscription_id) WHERE subscription_id IS NOT NULL;

CREATE TABLE disputes (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    payment_id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    stripe_dispute_id TEXT NOT NULL,
    status TEXT NOT NULL,
    state TEXT NOT NULL,
    amount_minor BIGINT NOT NULL,
    returned_minor BIGINT DEFAULT '0' NOT NULL,
    note_minor BIGINT DEFAULT '0' NOT NULL,
    balance_minor BIGINT DEFAULT '0' NOT NULL,
    loss_minor BIGINT DEFAULT '0' NOT NULL,
    noted_back_minor BIGINT DEFAULT '0' NOT NULL,
    wanted_minor BIGINT DEFAULT '0' NOT NULL,
    currency TEXT NOT NULL,
    reason TEXT NOT NULL,
    evidence_due_at TIMESTAMP WITH TIME ZONE,
    reminders INTEGER DEFAULT '0' NOT NULL,
    credits JSONB DEFAULT '[]' NOT NULL,
    late_grant TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    booked_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    returned_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_disputes PRIMARY KEY (id),
    CONSTRAINT ck_disputes_amount_positive CHECK (amount_minor >= 0 AND amount_minor + returned_minor > 0),
    CONSTRAINT ck_disputes_returned_after_booking CHECK (returned_minor >= noted_back_minor AND noted_back_minor >= 0 AND (returned_minor > 0) = (returned_at IS NOT NULL) AND (returned_at IS NULL OR booked_at IS NOT NULL)),
    CONSTRAINT ck_disputes_parts_fit CHECK (least(note_minor, balance_minor, loss_minor, amount_minor - note_minor - balance_minor - loss_minor) >= 0),
    CONSTRAINT ck_disputes_state_known CHECK (state IN ('inquiry', 'open', 'won', 'lost', 'closed')),
    CONSTRAINT ck_disputes_closed_in_time CHECK ((state IN ('inquiry', 'open')) = (closed_at IS NULL)),
    CONSTRAINT fk_disputes_payment_id_account_id FOREIGN KEY(payment_id, account_id) REFERENCES payments (id, account_id),
    CONSTRAINT fk_disputes_invoice_id_account_id FOREIGN KEY(invoice_id, account_id) REFERENCES invoices (id, account_id),
    CONSTRAINT fk_disputes_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_disputes_stripe_dispute_id UNIQUE (stripe_dispute_id)
);

CREATE INDEX ix_disputes_account ON disputes (account_id, created_at, id);

CREATE INDEX ix_disputes_booked ON disputes (booked_at, id);

CREATE INDEX ix_disputes_closed ON disputes (closed_at, id);

CREATE INDEX ix_disputes_created ON disputes (created_at, id);

CREATE INDEX ix_disputes_invoice ON disputes (invoice_id);

CREATE INDEX ix_disputes_payment ON disputes (payment_id);

CREATE INDEX ix_disputes_returned ON disputes (returned_at, id) WHERE returned_at IS NOT NULL;

CREATE INDEX ix_disputes_unbooked ON disputes (closed_at) WHERE state = 'lost' AND booked_at IS NULL;

CREATE TABLE refunds (
    id UUID NOT NULL,
    account_id UUID NOT NULL,
    payment_id UUID NOT NULL,
    invoice_id UUID NOT NULL,
    key TEXT NOT NULL,
    status TEXT NOT NULL,
    way TEXT DEFAULT 'provider' NOT NULL,
    amount_minor BIGINT NOT NULL,
    note_minor BIGINT DEFAULT '0' NOT NULL,
    balance_minor BIGINT DEFAULT '0' NOT NULL,
    wanted_minor BIGINT DEFAULT '0' NOT NULL,
    currency TEXT NOT NULL,
    line INTEGER,
    reason TEXT NOT NULL,
    reference TEXT,
    stripe_refund_id TEXT,
    failure TEXT,
    asked_at TIMESTAMP WITH TIME ZONE,
    checks INTEGER DEFAULT '0' NOT NULL,
    last_check_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    booked_at TIMESTAMP WITH TIME ZONE,
    credits JSONB DEFAULT '[]' NOT NULL,
    late_grant TEXT,
    finished_at TIMESTAMP WITH TIME ZONE,
    keep_subscription BOOLEAN DEFAULT 'false' NOT NULL,
    keep_credits BOOLEAN DEFAULT 'false' NOT NULL,
    CONSTRAINT pk_refunds PRIMARY KEY (id),
    CONSTRAINT ck_refunds_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT ck_refunds_parts_fit CHECK (least(note_minor, balance_minor, amount_minor - note_minor - balance_minor) >= 0),
    CONSTRAINT ck_refunds_way_known CHECK (way IN ('provider', 'outside', 'balance')),
    CONSTRAINT ck_refunds_status_known CHECK (status IN ('pending', 'processing', 'succeeded', 'failed')),
    CONSTRAINT ck_refunds_finished_in_time CHECK ((status IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)),
    CONSTRAINT fk_refunds_payment_id_account_id FOREIGN KEY(payment_id, account_id) REFERENCES payments (id, account_id),
    CONSTRAINT fk_refunds_invoice_id_account_id FOREIGN KEY(invoice_id, account_id) REFERENCES invoices (id, account_id),
    CONSTRAINT fk_refunds_account_id FOREIGN KEY(account_id) REFERENCES accounts (id),
    CONSTRAINT uq_refunds_key UNIQUE (key),
    CONSTRAINT uq_refunds_stripe_refund_id UNIQUE (stripe_refund_id)
);

CREATE INDEX ix_refunds_account ON refunds (account_id, created_at, id);

CREATE INDEX ix_refunds_booked ON refunds (booked_at, id);

CREATE INDEX ix_refunds_finished ON refunds (finished_at, id);

CREATE INDEX ix_refunds_invoice ON refunds (invoice_id);

CREATE INDEX ix_refunds_payment ON refunds (payment_id);

CREATE INDEX ix_refunds_reference ON refunds (reference) WHERE reference IS NOT NULL;

