ALTER TABLE billing_records ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_records FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON billing_records
    USING (account_id IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])));

ALTER TABLE credit_hold_lots ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_hold_lots FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON credit_hold_lots
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_hold_lots
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON credit_hold_lots FROM billing_app, billing_operator;

ALTER TABLE credit_transaction_lots ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_transaction_lots FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON credit_transaction_lots
    USING (account_id IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_transaction_lots
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON credit_transaction_lots FROM billing_app, billing_operator;

ALTER TABLE credit_transactions ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_transactions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON credit_transactions
    USING (account_id IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_transactions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON credit_transactions FROM billing_app, billing_operator;

ALTER TABLE quota_claims ENABLE ROW LEVEL SECURITY;
ALTER TABLE quota_claims FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON quota_claims
    USING (strpos(NULLIF(current_setting('app.accounts', true), ''), account_id::text) > 0);

ALTER TABLE usage_counters ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_counters FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_counters
    USING (account_id IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])));

ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON accounts
    USING (id IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])));

ALTER TABLE balance_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE balance_entries FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON balance_entries
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON balance_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON balance_entries FROM billing_app, billing_operator;

ALTER TABLE billing_audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_audit FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON billing_audit
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE billing_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON billing_events
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON billing_events FROM billing_app, billing_operator;

ALTER TABLE billing_idempotency ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_idempotency FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON billing_idempotency
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE billing_quotas ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_quotas FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON billing_quotas
    USING (strpos(NULLIF(current_setting('app.accounts', true), ''), account_id::text) > 0);

ALTER TABLE budgets ENABLE ROW LEVEL SECURITY;
ALTER TABLE budgets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON budgets
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE credit_balances ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_balances FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON credit_balances
    USING (account_id IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])));

ALTER TABLE credit_holds ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_holds FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON credit_holds
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE credit_lots ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_lots FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON credit_lots
    USING (account_id IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])));

ALTER TABLE events ENABLE ROW LEVEL SECURITY;
ALTER TABLE events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON events
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoices FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON invoices
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE limit_overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE limit_overrides FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON limit_overrides
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE matters ENABLE ROW LEVEL SECURITY;
ALTER TABLE matters FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON matters
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE payment_methods ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment_methods FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON payment_methods
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE price_overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_overrides FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON price_overrides
    USING (account_id IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])));

ALTER TABLE steps ENABLE ROW LEVEL SECURITY;
ALTER TABLE steps FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON steps
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE stripe_webhook_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE stripe_webhook_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON stripe_webhook_events
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE subscriptions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON subscriptions
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE top_ups ENABLE ROW LEVEL SECURITY;
ALTER TABLE top_ups FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON top_ups
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE trials ENABLE ROW LEVEL SECURITY;
ALTER TABLE trials FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON trials
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE usage_alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_alerts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_alerts
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE usage_periods ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_periods FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_periods
    USING (account_id IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])));

ALTER TABLE usage_settlements ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_settlements FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON usage_settlements
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE credit_notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE credit_notes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON credit_notes
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_notes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON credit_notes FROM billing_app, billing_operator;

ALTER TABLE dunning_cases ENABLE ROW LEVEL SECURITY;
ALTER TABLE dunning_cases FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON dunning_cases
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE invoice_lines ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice_lines FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON invoice_lines
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE payments ENABLE ROW LEVEL SECURITY;
ALTER TABLE payments FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON payments
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE purchases ENABLE ROW LEVEL SECURITY;
ALTER TABLE purchases FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON purchases
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE setup_intents ENABLE ROW LEVEL SECURITY;
ALTER TABLE setup_intents FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON setup_intents
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE subscription_items ENABLE ROW LEVEL SECURITY;
ALTER TABLE subscription_items FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON subscription_items
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE top_up_settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE top_up_settings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON top_up_settings
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE payment_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE payment_attempts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON payment_attempts
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

