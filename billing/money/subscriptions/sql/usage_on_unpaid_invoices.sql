-- The use on the unpaid invoices of an account, in minor units, open or given up: on those made
-- after `p_since`, and on all of a subscription that ended, or the limit would begin anew with each
-- subscription. What notes credited of it does not count, nor more of an invoice than is due.
CREATE OR REPLACE FUNCTION usage_on_unpaid_invoices(p_account_id uuid, p_since timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(greatest(0, least(
            i.amount_due_minor - i.amount_paid_minor - i.amount_credited_minor,
            l.used - usage_credited_of_lines(p_account_id, i.id, l.positions)))), 0)
    FROM invoices AS i
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount_minor), 0) AS used, array_agg(position) AS positions
        FROM invoice_lines
        WHERE invoice_id = i.id AND kind = 'usage') AS l
    WHERE i.account_id = p_account_id AND i.status IN ('draft', 'open', 'uncollectible')
        AND (i.created_at > p_since OR EXISTS (
            SELECT FROM subscriptions AS s
            WHERE s.id = i.subscription_id AND s.status IN ('canceled', 'incomplete_expired')))
$$;
