-- What credit notes of an invoice credited of its lines at these positions, in minor units.
CREATE OR REPLACE FUNCTION usage_credited_of_lines(
    p_account_id uuid, p_invoice_id uuid, p_positions integer[])
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum((part ->> 'amount_minor')::bigint), 0)
    FROM credit_notes AS n CROSS JOIN LATERAL jsonb_array_elements(n.lines) AS part
    WHERE n.account_id = p_account_id AND n.invoice_id = p_invoice_id
        AND (part ->> 'position')::int = ANY (p_positions)
$$;
