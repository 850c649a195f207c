-- Credits that captures without a use spent in the window of a credit budget. The budget stores the
-- sum of the window last counted; another window's is computed.
CREATE OR REPLACE FUNCTION budget_captured(
    p_budget budgets, p_begins timestamptz, p_ends timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN p_budget.measure <> 'credits' THEN 0
        WHEN p_budget.captured_from = p_begins THEN p_budget.captured
        ELSE (
            SELECT coalesce(sum(credits), 0) FROM capture_logs
            WHERE account_id = p_budget.account_id
                AND created_at >= p_begins AND created_at < p_ends) END
$$;
