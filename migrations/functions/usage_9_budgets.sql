-- Budgets: what their windows have used, who must be told, and whether a use would break one. What
-- was used is the sum of the account's counters; `credit_balances.budget_mode` says whether there
-- is anything to look at, so that accounts without budgets pay nothing for them.

-- The window that an instant lies in, half-open; a cycle's end is left open.
CREATE OR REPLACE FUNCTION budget_window(
    p_window text, p_zone text, p_period_start timestamptz, p_at timestamptz,
    OUT begins timestamptz, OUT ends timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT
        CASE p_window WHEN 'cycle' THEN p_period_start
            ELSE m.start_at AT TIME ZONE p_zone END,
        CASE p_window WHEN 'cycle' THEN 'infinity'
            ELSE (m.start_at + interval '1 month') AT TIME ZONE p_zone END
    FROM (SELECT date_trunc('month', p_at AT TIME ZONE p_zone)) AS m(start_at)
$$;

CREATE OR REPLACE FUNCTION budget_used(
    p_account_id uuid, p_measure text, p_meter text, p_window text, p_begins timestamptz,
    p_ends timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    -- Days also count what a card pays at once; that is on no invoice to come. A cycle is its own
    -- days, a month those that begin in it.
    SELECT coalesce(sum(CASE p_measure WHEN 'meter' THEN quantity WHEN 'credits' THEN credits
        ELSE CASE WHEN split_part(facet, '|', 2) <> 'payment_charge' THEN overage_total END
        END), 0)
    FROM usage_counters
    WHERE account_id = p_account_id AND owner = ''
        AND grain = 'day'
        AND period_start >= CASE p_window WHEN 'cycle' THEN p_begins ELSE '-infinity' END
        AND period_start <= CASE p_window WHEN 'cycle' THEN p_begins ELSE 'infinity' END
        AND bucket >= CASE p_window WHEN 'cycle' THEN '-infinity' ELSE p_begins END
        AND bucket < p_ends
        AND (p_measure <> 'meter' OR meter = p_meter)
$$;

-- Whether one account's records ask for more than its blocking budgets have left. Late ones ask for
-- nothing, and neither does what is free of the budget's measure.
CREATE OR REPLACE FUNCTION budget_exceeded(
    p_records billing_records[], p_account_id uuid, p_zone text, p_period_start timestamptz,
    p_at timestamptz)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_or(u.amount > 0 AND u.amount + budget_used(
        b.account_id, b.measure, b.meter, b.window_kind, w.begins, w.ends) > b.limit_amount), false)
    FROM budgets AS b
    CROSS JOIN LATERAL budget_window(b.window_kind, p_zone, p_period_start, p_at) AS w
    CROSS JOIN LATERAL (
        SELECT sum(CASE b.measure
            WHEN 'meter' THEN CASE WHEN meter = b.meter THEN included_amount + charged_amount END
            WHEN 'credits' THEN CASE WHEN currency = 'CREDIT' THEN total_amount END
            ELSE CASE WHEN currency <> 'CREDIT' AND billing_method <> 'payment_charge'
                THEN total_amount END END)
        FROM unnest(p_records)
        WHERE account_id = p_account_id AND failure IS NULL AND NOT is_late
            AND (b.window_kind = 'cycle' OR (day_at >= w.begins AND day_at < w.ends))
    ) AS u(amount)
    WHERE b.account_id = p_account_id AND b.is_blocking
$$;

-- Tell of every threshold that is reached, once per window. Expects the account's lock.
CREATE OR REPLACE FUNCTION budget_tell(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
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
        PERFORM usage_alert(
            p_account_id, 'budget ' || public_id('bud', one.id),
            CASE one.measure WHEN 'meter' THEN one.meter ELSE one.measure END, '', one.percent,
            one.begins, one.limit_amount, one.used, p_at, 'evt.billing.usage.budget_reached');
    END LOOP;
END;
$$;
