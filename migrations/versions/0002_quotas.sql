-- Quotas that each user has by default, and captures that a budget counts.
ALTER TABLE billing_quotas ADD is_derived boolean NOT NULL DEFAULT 'false';
CREATE INDEX ix_billing_quotas_set ON billing_quotas (account_id, meter) WHERE NOT is_derived;
CREATE INDEX ix_billing_quotas_created ON billing_quotas (created_at, id) WHERE NOT is_derived;
ALTER TABLE budgets ADD captured numeric(27, 12) NOT NULL DEFAULT '0',
    ADD captured_from timestamptz;
