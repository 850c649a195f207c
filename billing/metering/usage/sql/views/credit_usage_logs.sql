-- What spent credits, one row for each use and each capture that no use is behind [F4], and what
-- came back of uses taken back: their sum by entry is the ledger's. It shows what the reader's own
-- rights and row-level security show.
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
