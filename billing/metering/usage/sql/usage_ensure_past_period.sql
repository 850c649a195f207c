-- See that a period is there for a time before the open one: what comes for it is late.
CREATE OR REPLACE FUNCTION usage_ensure_past_period(p_account_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE sql AS $$
    INSERT INTO usage_periods (
        id, account_id, start_at, end_at, zone, plan_id, limits, no_entitlement, carried_since,
        closed_at)
    SELECT uuidv7(), p_account_id, m.start_at,
        least(m.end_at,
            (SELECT min(start_at) FROM usage_periods WHERE account_id = p_account_id)),
        a.zone, d.plan_id, d.limits, d.no_entitlement, m.start_at, p_at
    FROM accounts AS a CROSS JOIN LATERAL usage_month(a.zone, p_at) AS m
    CROSS JOIN LATERAL usage_default_terms(a.id, p_at) AS d
    WHERE a.id = p_account_id AND NOT EXISTS (
        SELECT 1 FROM usage_periods WHERE account_id = p_account_id AND start_at <= p_at)
    ON CONFLICT DO NOTHING
$$;
