-- What banks took back for use within a year, by disputes that were lost, in minor units: of each
-- invoice first the money for its use, less what notes credited of that, as of a voided one. The
-- customer owes nothing for it, and does not get as much again on credit.
CREATE OR REPLACE FUNCTION usage_lost_to_banks(p_account_id uuid) RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(least(d.taken, greatest(0, l.used - usage_credited_of_lines(
                p_account_id, d.invoice_id, l.positions)))), 0)
    FROM (
        SELECT invoice_id, sum(amount_minor) AS taken
        FROM disputes
        WHERE account_id = p_account_id AND state = 'lost'
            AND closed_at > coalesce(
                (SELECT clock_at FROM accounts WHERE id = p_account_id), clock_timestamp())
                - interval '1 year'
        GROUP BY invoice_id) AS d
    CROSS JOIN LATERAL (
        SELECT sum(amount_minor - discount_minor + tax_minor - tax_included_minor) AS used,
            array_agg(position) AS positions
        FROM invoice_lines
        WHERE invoice_id = d.invoice_id AND kind IN ('usage', 'single_use')) AS l
$$;
