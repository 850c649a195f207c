-- Those of these accounts of which an invoice is overdue or was given up, be it of a subscription
-- that ended.
CREATE OR REPLACE FUNCTION usage_overdue_accounts(p_accounts uuid[]) RETURNS uuid[]
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(array_agg(DISTINCT account_id), '{}') FROM (
        SELECT account_id FROM dunning_cases
        WHERE account_id = ANY (p_accounts) AND status IN ('open', 'paused')
        UNION ALL
        SELECT account_id FROM invoices
        WHERE account_id = ANY (p_accounts) AND status = 'uncollectible') AS owing
$$;
