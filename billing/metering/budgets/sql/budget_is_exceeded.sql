-- Whether one account's records exceed what its blocking budgets have left. Late records, and those
-- that are free in the budget's measure, never do.
CREATE OR REPLACE FUNCTION budget_is_exceeded(p_records usage_rated[], p_account usage_account)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_or(u.amount > 0 AND u.amount + s.used
        + budget_captured(b, w.begins, w.ends) > b.limit_amount), false)
    FROM budgets AS b
    CROSS JOIN LATERAL budget_window(
        b.window_kind, p_account.zone, p_account.start_at, p_account.as_of) AS w
    CROSS JOIN LATERAL budget_spent(
        b.account_id, b.measure, b.meter, b.window_kind, w.begins, w.ends) AS s
    CROSS JOIN LATERAL (
        SELECT sum(CASE b.measure
            WHEN 'meter' THEN CASE WHEN r.meter = b.meter
                THEN r.included_units + r.charged_units END
            WHEN 'credits' THEN CASE WHEN r.currency = 'CREDIT' THEN r.total_amount END
            ELSE CASE WHEN r.currency <> 'CREDIT' AND r.billing_method <> 'payment_charge'
                THEN r.total_amount END END)
        FROM unnest(p_records) AS r
        WHERE r.account_id = p_account.account_id AND r.failure IS NULL AND NOT r.is_late
            AND (b.window_kind = 'cycle' OR (r.day_at >= w.begins AND r.day_at < w.ends))
    ) AS u(amount)
    WHERE b.account_id = p_account.account_id AND b.is_blocking
$$;
