-- Ensure that a period exists for a late use's time. A past month without a subscription may have
-- none yet. No period is created between the end of a subscription's period and the next one: that
-- time stays with the subscription.
CREATE OR REPLACE FUNCTION usage_ensure_past_period(p_account_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE sql AS $$
    INSERT INTO usage_periods (
        id, account_id, start_at, end_at, zone, plan_id, limits, no_entitlement, carried_since,
        closed_at)
    SELECT uuidv7(), p_account_id, s.start_at,
        least(m.end_at, (
            SELECT min(start_at) FROM usage_periods
            WHERE account_id = p_account_id AND start_at > p_at)),
        a.zone, d.plan_id, usage_carry_over(a.id, d.limits, m.start_at, s.start_at),
        d.no_entitlement, m.start_at, p_at
    FROM accounts AS a CROSS JOIN LATERAL usage_month(a.zone, p_at) AS m
    CROSS JOIN LATERAL usage_default_terms(a.id, p_at, true) AS d
    LEFT JOIN LATERAL (
        SELECT end_at, subscription_id FROM usage_periods
        WHERE account_id = p_account_id AND start_at <= p_at
        ORDER BY start_at DESC LIMIT 1) AS b ON true
    CROSS JOIN LATERAL (SELECT greatest(m.start_at, b.end_at)) AS s(start_at)
    WHERE a.id = p_account_id
        AND coalesce(b.end_at <= p_at AND b.subscription_id IS NULL, true)
    ON CONFLICT DO NOTHING
$$;
