-- The entries that returned credits of an entry before, for uses that it paid and that were voided.
-- By itself, because its array of months prunes the partitions only where it is planned anew.
CREATE OR REPLACE FUNCTION usage_given_back(p_account_id uuid, p_entry uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    months date[] := (
        SELECT usage_entry_months(e.id, e.key, e.subject)
        FROM credit_transactions AS e WHERE e.id = p_entry);
BEGIN
    RETURN ARRAY(
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
            AND EXISTS (SELECT FROM month_files WHERE is_away));
END;
$$;
