-- Those of these accounts of which an invoice is overdue or was given up, be it of a subscription
-- that ended; since when.
CREATE OR REPLACE FUNCTION usage_overdue(p_accounts uuid[])
RETURNS TABLE (account_id uuid, since timestamptz)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT i.account_id, min(CASE i.status WHEN 'open' THEN c.opened_at ELSE i.created_at END)
    FROM invoices AS i LEFT JOIN dunning_cases AS c ON c.invoice_id = i.id
    WHERE i.account_id = ANY (p_accounts) AND i.status IN ('open', 'uncollectible')
        AND (i.status = 'uncollectible' OR c.status IN ('open', 'paused', 'exhausted'))
    GROUP BY i.account_id
$$;
