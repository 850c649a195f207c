-- Count captures, whose usage logs are written, on their accounts' budgets, and notify of reached
-- thresholds. Expects the accounts' locks.
CREATE OR REPLACE FUNCTION budget_count_captures(
    p_items credit_capture_item[], p_answers credit_capture_answer[], p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    accounts uuid[] := ARRAY(SELECT i.account_id FROM unnest(p_items) AS i);
    one record;
    as_of timestamptz;
    period record;
BEGIN
    PERFORM set_config('app.accounts', array_to_string(accounts, ','), true);
    FOR one IN
        SELECT i.account_id, sum(a.captured) AS credits
        FROM unnest(p_items) WITH ORDINALITY AS i
        JOIN unnest(p_answers) AS a ON a.place = i.ordinality AND a.verdict = 'ok'
        JOIN credit_balances AS b ON b.account_id = i.account_id AND b.budget_mode IS NOT NULL
        GROUP BY i.account_id
        ORDER BY i.account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        as_of := coalesce(p_at, (SELECT clock_at FROM accounts WHERE id = one.account_id),
            clock_timestamp());
        PERFORM usage_open_period(one.account_id, as_of);
        SELECT p.zone, p.start_at INTO period
        FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
        WHERE b.account_id = one.account_id;
        UPDATE budgets AS b
        SET captured = budget_captured(b, w.begins, w.ends)
                + CASE WHEN b.captured_from = w.begins THEN one.credits ELSE 0 END,
            captured_from = w.begins
        FROM budgets AS k CROSS JOIN LATERAL budget_window(
            k.window_kind, period.zone, period.start_at, as_of) AS w
        WHERE k.account_id = one.account_id AND k.measure = 'credits' AND b.id = k.id;
        PERFORM budget_notify(one.account_id, period.zone, period.start_at, as_of);
        PERFORM set_config('app.accounts', array_to_string(accounts, ','), true);
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
