-- Spent credits, one row for each use and each capture without a use [F4], and credits returned for
-- voided uses: their sum by entry equals the ledger's. The reader's own rights and row-level
-- security apply.
CREATE OR REPLACE VIEW credit_usage_logs WITH (security_invoker = true) AS
SELECT
    id, account_id, user_id, operation, model, service_type, product_id, usage_amount,
    total_amount AS credits, transaction_id, occurred_at AS created_at
FROM billing_records
WHERE currency = 'CREDIT' AND transaction_id IS NOT NULL
UNION ALL
SELECT
    transaction_id, account_id, user_id, operation, model, NULL, NULL, credits, credits,
    transaction_id, created_at
FROM capture_logs;
