-- Payments of archived months' records: by ledger entry if it also paid others, else as one sum
-- without an entry. The reader's own rights and row-level security apply.
CREATE OR REPLACE VIEW sealed_entries WITH (security_invoker = true) AS
SELECT s.account_id, e.transaction_id, e.credits, e.entries
FROM sealed_usage AS s
JOIN month_files AS f ON f.id = s.file_id AND f.is_away
CROSS JOIN LATERAL (
    SELECT NULL::uuid AS transaction_id, s.credits, s.entries
    UNION ALL
    SELECT one.transaction_id, one.credits, 1
    FROM jsonb_to_recordset(s.shared) AS one(transaction_id uuid, credits numeric)) AS e;
