-- Complete the next part of the records that an account's invoices bill; return how many. Takes the
-- account's lock.
CREATE OR REPLACE FUNCTION usage_complete_part(p_account_id uuid, p_at timestamptz)
RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    next_part record;
BEGIN
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    DELETE FROM usage_settlements
    WHERE (account_id, invoice, meter, start_at, part) = (
        SELECT account_id, invoice, meter, start_at, part FROM usage_settlements
        WHERE account_id = p_account_id ORDER BY invoice, meter, start_at, part LIMIT 1)
    RETURNING records, invoice INTO next_part;
    RETURN usage_complete(p_account_id, next_part.records, next_part.invoice, p_at);
END;
$$;
