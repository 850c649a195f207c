ALTER TABLE accounts_to_check ENABLE ROW LEVEL SECURITY;
ALTER TABLE accounts_to_check FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON accounts_to_check
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE capture_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE capture_logs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON capture_logs
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON capture_logs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON capture_logs FROM billing_app, billing_operator;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON issuer_logos
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON issuer_logos FROM billing_app, billing_operator;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON past_credit_costs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON past_credit_costs FROM billing_app, billing_operator;

ALTER TABLE proven_books ENABLE ROW LEVEL SECURITY;
ALTER TABLE proven_books FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON proven_books
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE quota_slices ENABLE ROW LEVEL SECURITY;
ALTER TABLE quota_slices FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON quota_slices
    USING (strpos(NULLIF(current_setting('app.accounts', true), ''), account_id::text) > 0);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON skipped_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON skipped_events FROM billing_app, billing_operator;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON skipped_numbers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON skipped_numbers FROM billing_app, billing_operator;

ALTER TABLE billing_addresses ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_addresses FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON billing_addresses
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE contracts ENABLE ROW LEVEL SECURITY;
ALTER TABLE contracts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON contracts
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE dropped_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE dropped_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON dropped_events
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE dunning_pauses ENABLE ROW LEVEL SECURITY;
ALTER TABLE dunning_pauses FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON dunning_pauses
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE migration_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE migration_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON migration_requests
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE portal_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE portal_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON portal_sessions
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE sealed_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE sealed_usage FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON sealed_usage
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sealed_usage
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON sealed_usage FROM billing_app, billing_operator;

ALTER TABLE tax_profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE tax_profiles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tax_profiles
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE tax_quotes ENABLE ROW LEVEL SECURITY;
ALTER TABLE tax_quotes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON tax_quotes
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE trial_identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE trial_identities FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON trial_identities
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE unpaid_retries ENABLE ROW LEVEL SECURITY;
ALTER TABLE unpaid_retries FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON unpaid_retries
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE unpaid_uses ENABLE ROW LEVEL SECURITY;
ALTER TABLE unpaid_uses FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON unpaid_uses
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE billing_details ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing_details FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON billing_details
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE invoice_documents ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice_documents FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON invoice_documents
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_documents
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON invoice_documents FROM billing_app, billing_operator;

ALTER TABLE invoice_snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE invoice_snapshots FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON invoice_snapshots
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON invoice_snapshots
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON invoice_snapshots FROM billing_app, billing_operator;

ALTER TABLE subscription_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE subscription_changes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON subscription_changes
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE discounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE discounts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON discounts
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE disputes ENABLE ROW LEVEL SECURITY;
ALTER TABLE disputes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON disputes
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

ALTER TABLE refunds ENABLE ROW LEVEL SECURITY;
ALTER TABLE refunds FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON refunds
    USING (account_id = ANY ((SELECT string_to_array(NULLIF(current_setting('app.accounts', true), ''), ',')::uuid[])::uuid[]));

