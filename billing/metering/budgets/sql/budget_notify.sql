-- Notify once per window of every threshold that the account's budgets have reached. Expects the
-- account's lock; `credit_balances.budget_mode` says whether there are budgets.
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
        SELECT r.subject, r.meter, r.percent, r.begins, r.limit_amount, r.used
        FROM budget_reached(p_account_id, p_zone, p_period_start, p_at) AS r
        ORDER BY r.id, r.percent
    LOOP
        PERFORM usage_notify_threshold(
            p_account_id,
            ROW(budget.subject, budget.meter, '', budget.percent, budget.begins,
                budget.limit_amount, budget.used)::usage_threshold_alert,
            p_at, 'evt.billing.usage.budget_reached');
    END LOOP;
END;
$$;
