-- Until when the last cycle of a subscription would go on if it were whole, where its period was
-- charged as a short one, because of a billing day or an end at a date, and ends before that. Null
-- for any other, and for the rest of a cycle that was cut: with its first piece that is whole.
-- Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_whole_until(p_subscription_id uuid) RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT whole.cycle_end
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (
        SELECT usage_instant(s.cycle_start AT TIME ZONE s.zone
                + (p.allowance_count || ' ' || p.allowance_unit)::interval, s.zone) AS cycle_end,
            usage_instant(s.current_period_start AT TIME ZONE s.zone
                + (s.interval_count || ' ' || s.interval_unit)::interval, s.zone) AS period_end
    ) AS whole
    WHERE s.id = p_subscription_id AND s.cycle_rest_of IS NULL AND EXISTS (
        SELECT FROM invoices AS i
        WHERE i.subscription_id = s.id AND i.status NOT IN ('draft', 'void')
            AND i.subtotal_minor > 0
            AND i.cycle_end IS NOT NULL AND i.period_start = s.current_period_start
            -- By what was charged: an end that is chosen later gives no time back.
            AND i.period_end < least(whole.cycle_end, whole.period_end))
$$;
