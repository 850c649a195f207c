-- Store sums of these accounts' records in a month that is about to be detached, for the checks:
-- per counter, charged by invoices, and by paying ledger entry. Run by the tables' owner, who sees
-- only the accounts of `app.accounts`, while nobody writes there.
CREATE OR REPLACE FUNCTION usage_seal_month(p_file_id uuid, p_accounts uuid[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    INSERT INTO sealed_usage (account_id, file_id, counters, lines, entries, credits, shared)
    SELECT
        a.id, f.id, coalesce(counted.sums, '[]'), coalesce(charged.sums, '[]'), paid.entries,
        paid.credits, coalesce(paid.shared, '[]')
    FROM month_files AS f CROSS JOIN unnest(p_accounts) AS a(id)
    -- The first month has all of before, whatever is said there.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN f.month = usage_first_month() THEN '-infinity' ELSE f.month END AS month
    ) AS m
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(to_jsonb(c)) AS sums
        FROM usage_counted_in(
            a.id, '-infinity', m.month, f.until, '-infinity', 'infinity') AS c) AS counted
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(to_jsonb(c)) AS sums
        FROM (
            SELECT r.meter, r.period_start, sum(r.charged_units) AS units,
                sum(r.total_amount) AS total
            FROM billing_records AS r
            WHERE r.account_id = a.id AND r.month >= m.month AND r.month < f.until
                AND r.currency <> 'CREDIT' AND r.billing_method = 'subscription_included'
            GROUP BY r.meter, r.period_start) AS c) AS charged
    CROSS JOIN LATERAL (
        SELECT
            count(*) FILTER (WHERE x.is_whole) AS entries,
            coalesce(sum(x.credits) FILTER (WHERE x.is_whole), 0) AS credits,
            jsonb_agg(jsonb_build_object(
                'transaction_id', x.transaction_id, 'credits', x.credits))
                FILTER (WHERE NOT x.is_whole) AS shared
        FROM (
            SELECT r.transaction_id, r.credits,
                coalesce(t.debt - t.amount = r.credits, false) AS is_whole
            FROM (
                SELECT b.transaction_id, sum(b.total_amount) AS credits
                FROM billing_records AS b
                WHERE b.account_id = a.id AND b.month >= m.month AND b.month < f.until
                    AND b.transaction_id IS NOT NULL
                GROUP BY b.transaction_id) AS r
            LEFT JOIN credit_transactions AS t
                ON t.id = r.transaction_id AND t.account_id = a.id) AS x) AS paid
    WHERE f.id = p_file_id
$$;
