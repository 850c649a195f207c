-- Made beforehand, with another name (0002_large/prepare.sql).
DROP INDEX ix_matters_left_behind;
ALTER INDEX ix_matters_left_behind_new RENAME TO ix_matters_left_behind;
DROP INDEX ix_matters_open;
ALTER INDEX ix_matters_open_new RENAME TO ix_matters_open;

-- Nothing publishes events yet, so it had all of them, and nothing read it.
DROP INDEX ix_events_unpublished;

REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON usage_months FROM billing_app, billing_operator;
-- Months are written out and read back by their owner's commands alone.
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON month_files, sealed_usage FROM billing_app, billing_operator;
REVOKE ALL ON FUNCTION usage_seal_month FROM PUBLIC;
REVOKE ALL ON FUNCTION usage_make_months FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usage_make_months TO billing_app, billing_operator;
SELECT usage_make_months(6);

-- Room for the new version of a row at its renewal. Nothing is rewritten: pages that are full get
-- room when their rows change.
ALTER TABLE subscriptions SET (fillfactor = 90);
-- One statement changes the counters of hundreds of accounts that lie together: each needs room for
-- its new version beside the old one, as balances and lots have it.
ALTER TABLE usage_counters SET (fillfactor = 50);

-- A statement touches a thousand accounts at once: their list is hashed, as texts, which costs less
-- than to make ids of them. Balances have it by now (0002_large/prepare.sql).
ALTER POLICY tenant ON accounts
    USING (id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
ALTER POLICY tenant ON billing_quotas
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
ALTER POLICY tenant ON credit_lots
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
ALTER POLICY tenant ON credit_transaction_lots
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
ALTER POLICY tenant ON credit_transactions
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
ALTER POLICY tenant ON price_overrides
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
ALTER POLICY tenant ON quota_claims
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
ALTER POLICY tenant ON usage_counters
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
ALTER POLICY tenant ON usage_periods
    USING (account_id::text IN (SELECT unnest(string_to_array(NULLIF(current_setting('app.accounts', true), ''), ','))));
