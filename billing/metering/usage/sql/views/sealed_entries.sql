-- What records of months that are away were paid with: by the ledger's entry where it also paid
-- others, else in one sum without a name. It shows what the reader's own rights and row-level
-- security show.
CREATE OR REPLACE VIEW sealed_entries WITH (security_invoker = true) AS
SELECT s.account_id, e.transaction_id, e.credits, e.entries
FROM sealed_usage AS s
JOIN month_files AS f ON f.id = s.file_id AND f.is_away
CROSS JOIN LATERAL (
    SELECT NULL::uuid AS transaction_id, s.credits, s.entries
    UNION ALL
    SELECT one.transaction_id, one.credits, 1
    FROM jsonb_to_recordset(s.shared) AS one(transaction_id uuid, credits numeric)) AS e;
