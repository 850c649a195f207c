-- Return a voided use's credits to the lots of the entry that paid it, which may have paid other
-- voided uses, and pay unpaid uses with them. Returns the new entry. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_give_back(
    p_account_id uuid, p_id uuid, p_entry uuid, p_amount numeric, p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    name text := public_id('bill', p_id);
    entry uuid;
    months date[] := (
        SELECT usage_entry_months(e.id, e.key, e.subject)
        FROM credit_transactions AS e WHERE e.id = p_entry);
BEGIN
    PERFORM credit_open(p_account_id, p_at);
    entry := credit_give_back(
        p_account_id, p_entry,
        ARRAY(
            SELECT v.transaction_id
            FROM billing_records AS v
            WHERE v.id = ANY (ARRAY(
                    SELECT usage_void_id(r.id)
                    FROM billing_records AS r
                    WHERE r.transaction_id = p_entry AND r.month = ANY (months)
                        AND r.account_id = p_account_id))
                AND v.month = ANY (months) AND v.voids IS NOT NULL
            UNION
            -- Of uses whose month is archived the ledger alone knows.
            SELECT t.id FROM credit_transactions AS t
            WHERE t.account_id = p_account_id AND t.kind = 'void'
                AND (t.at, t.seq) > (
                    SELECT e.at, e.seq FROM credit_transactions AS e WHERE e.id = p_entry)
                AND t.detail ->> 'transaction_id' = public_id('ctx', p_entry)
                AND EXISTS (SELECT FROM month_files WHERE is_away)),
        p_amount, name || '/void', 'usage taken back', name, p_at);
    RETURN entry;
END;
$$;
