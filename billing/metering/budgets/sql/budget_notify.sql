-- Notify of every threshold of the account's budgets that is reached, once per window. Expects the
-- account's lock; `credit_balances.budget_mode` says whether there is any budget to look at.
CREATE OR REPLACE FUNCTION budget_notify(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    budget record;
BEGIN
    FOR budget IN
        SELECT b.id, b.measure, b.meter, b.limit_amount, w.begins, u.used, t.percent
        FROM budgets AS b
        CROSS JOIN LATERAL budget_window(b.window_kind, p_zone, p_period_start, p_at) AS w
        CROSS JOIN LATERAL (SELECT budget_used(
            b.account_id, b.measure, b.meter, b.window_kind, w.begins, w.ends) OFFSET 0) AS u(used)
        CROSS JOIN LATERAL unnest(b.alert_percents) AS t(percent)
        WHERE b.account_id = p_account_id AND u.used > 0
            AND u.used * 100 >= b.limit_amount * t.percent
        ORDER BY b.id, t.percent
    LOOP
        PERFORM usage_notify_threshold(
            p_account_id,
            ROW('budget ' || public_id('bud', budget.id),
                CASE budget.measure WHEN 'meter' THEN budget.meter ELSE budget.measure END, '',
                budget.percent, budget.begins, budget.limit_amount,
                budget.used)::usage_threshold_alert,
            p_at, 'evt.billing.usage.budget_reached');
    END LOOP;
END;
$$;
