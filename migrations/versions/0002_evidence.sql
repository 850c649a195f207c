ALTER TABLE billing_audit ADD COLUMN previous_id bigint, ADD COLUMN digest bytea;

-- What the programs never do, their roles may not do: whoever gets hold of one of them destroys no
-- evidence. The release before does none of it either.
REVOKE UPDATE ON invoice_lines FROM billing_app, billing_operator;

REVOKE DELETE, TRUNCATE ON
    accounts, billing_records, coupons, credit_balances, credit_holds, credit_lots, default_plan,
    discounts, disputes, dunning_cases, events, invoice_lines, invoice_series, invoices, issuers,
    matters, meters, migration_requests, payment_attempts, payment_methods, payments, plans, prices,
    products, purchases, refunds, setup_intents, steps, stripe_webhook_events, subscription_changes,
    subscriptions, tax_profiles, top_ups, trial_identities, trials, usage_alerts, usage_periods
FROM billing_app, billing_operator;

REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON alembic_version FROM billing_app, billing_operator;

-- Parking is begun and ended by an operator's command alone.
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON parkings FROM billing_app;
REVOKE DELETE, TRUNCATE ON parkings FROM billing_operator;
REVOKE INSERT ON skipped_events FROM billing_app;
