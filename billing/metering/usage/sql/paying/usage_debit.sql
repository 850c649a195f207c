-- Debit the cost of uncontested records, with one entry per account, share and method; uses of a
-- meter with credits scoped to it get their own entry. `members` are places in the records; without
-- a transaction the credits were insufficient, and `available` says what there was.
CREATE OR REPLACE FUNCTION usage_debit(p_records usage_rated[], p_contested integer[])
RETURNS TABLE (members integer[], transaction_id uuid, available numeric)
LANGUAGE sql AS $$
    WITH scoped AS MATERIALIZED (
        SELECT DISTINCT l.account_id, l.scope
        FROM (SELECT DISTINCT account_id FROM unnest(p_records)) AS r
        CROSS JOIN LATERAL (
            SELECT account_id, scope FROM credit_lots
            WHERE account_id = r.account_id AND is_open AND scope IS NOT NULL
            OFFSET 0) AS l
    ), due AS (
        SELECT
            r.account_id, s.scope, sum(r.total_amount) AS amount,
            'usage/' || (array_agg((r.use).id ORDER BY r.ordinality))[1] AS key,
            CASE WHEN count(*) = 1 THEN coalesce(
                'usage: ' || min(coalesce((r.kind).product_id, (r.kind).operation)), 'usage')
                ELSE 'usage: ' || count(*) || ' records' END AS reason,
            r.billing_method = 'wallet_deduction' AS bought_only,
            array_agg(r.ordinality::integer) AS members
        FROM unnest(p_records) WITH ORDINALITY AS r
        LEFT JOIN scoped AS s ON s.account_id = r.account_id AND s.scope = r.meter
        WHERE r.billing_status = 'processing' AND r.failure IS NULL
            AND (r.use).account <> ALL (p_contested)
        GROUP BY r.account_id, (r.use).share, r.billing_method, s.scope
        ORDER BY min(r.ordinality)
    ), listed AS (
        SELECT array_agg(ROW(
            account_id, amount, key, key, reason, scope, bought_only, NULL, NULL, false
            )::credit_debit_item) AS items
        FROM due
    ), paid AS (
        SELECT d.place, d.transaction_id, d.available
        FROM listed AS l CROSS JOIN LATERAL credit_debit_many(l.items) AS d
        WHERE l.items IS NOT NULL
    )
    SELECT m.members, p.transaction_id, p.available
    FROM paid AS p
    JOIN (SELECT members, row_number() OVER () AS place FROM due) AS m ON m.place = p.place
$$;
