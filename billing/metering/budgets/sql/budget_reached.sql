-- Thresholds that the account's budgets have reached without a notification so far. Inlined where
-- it is called.
CREATE OR REPLACE FUNCTION budget_reached(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS TABLE (
    id uuid, subject text, meter text, percent integer, begins timestamptz, limit_amount numeric,
    used numeric)
LANGUAGE sql STABLE AS $$
    SELECT b.id, s.subject, s.meter, t.percent, w.begins, b.limit_amount, u.used
    FROM budgets AS b
    CROSS JOIN LATERAL (SELECT 'budget ' || public_id('bud', b.id),
        CASE b.measure WHEN 'meter' THEN b.meter ELSE b.measure END) AS s(subject, meter)
    CROSS JOIN LATERAL budget_window(b.window_kind, p_zone, p_period_start, p_at) AS w
    CROSS JOIN LATERAL budget_spent(
        b.account_id, b.measure, b.meter, b.window_kind, w.begins, w.ends) AS c
    CROSS JOIN LATERAL (SELECT c.used + budget_captured(b, w.begins, w.ends)) AS u(used)
    CROSS JOIN LATERAL unnest(b.alert_percents) AS t(percent)
    WHERE b.account_id = p_account_id AND b.alert_percents <> '{}' AND u.used > 0
        AND u.used * 100 >= b.limit_amount * t.percent
        AND NOT EXISTS (
            SELECT FROM usage_alerts AS k
            WHERE k.account_id = p_account_id AND k.subject = s.subject AND k.meter = s.meter
                AND k.window_start = w.begins AND k.threshold = t.percent)
$$;
