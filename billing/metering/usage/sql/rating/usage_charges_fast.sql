-- The cost of uses of the fast path, per account, share and method, in the order of the uses.
CREATE OR REPLACE FUNCTION usage_charges_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS usage_due[]
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    SELECT coalesce(array_agg(ROW(
        d.account, d.share, d.method, a.account_id, a.as_of, d.amount, d.key, d.reason,
        d.method = 'wallet_deduction')::usage_due ORDER BY d.first), '{}')
    FROM (
        SELECT
            u.account, u.share, k.method, min(u.place) AS first,
            sum(usage_charge_units(u.amount, k.unit_price, 'CREDIT')) AS amount,
            'usage/' || (array_agg(u.id ORDER BY u.place))[1] AS key,
            CASE WHEN count(*) = 1 THEN 'usage: ' || min(k.product_id)
                ELSE 'usage: ' || count(*) || ' records' END AS reason
        FROM unnest(p_uses) AS u JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        WHERE k.unit_price > 0
        GROUP BY u.account, u.share, k.method) AS d
    JOIN unnest(p_accounts) AS a ON a.place = d.account
$$;
