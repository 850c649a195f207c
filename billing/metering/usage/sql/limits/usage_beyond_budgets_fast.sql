-- Places of accounts whose uses may exceed a blocking budget: use within the allowance counts as
-- paid, and all of it as in the budget's window. The fast path takes only uses that cost no money,
-- so money budgets are not checked.
CREATE OR REPLACE FUNCTION usage_beyond_budgets_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS integer[]
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    WITH left_over AS MATERIALIZED (
        SELECT a.place, b.id, b.measure, b.meter, b.limit_amount - s.used
                - b.captured AS amount
        FROM unnest(p_accounts) AS a
        CROSS JOIN LATERAL (
            SELECT k.id, k.account_id, k.measure, k.meter, k.window_kind, k.limit_amount,
                w.begins, w.ends, budget_captured(k, w.begins, w.ends) AS captured
            FROM budgets AS k
            CROSS JOIN LATERAL budget_window(k.window_kind, a.zone, a.start_at, a.as_of) AS w
            WHERE k.account_id = a.account_id AND k.is_blocking AND k.measure <> 'money'
            OFFSET 0) AS b
        CROSS JOIN LATERAL budget_spent(
            b.account_id, b.measure, b.meter, b.window_kind, b.begins, b.ends) AS s
        WHERE a.budget_mode = 'block'
    )
    SELECT ARRAY(
        SELECT l.place
        FROM unnest(p_uses) AS u
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        JOIN left_over AS l ON l.place = u.account
        WHERE l.measure = 'credits' OR l.meter = k.meter
        GROUP BY l.place, l.id
        HAVING sum(CASE l.measure WHEN 'credits'
            THEN usage_charge_units(u.amount, k.unit_price, 'CREDIT') ELSE u.amount END)
            > min(l.amount))
$$;
