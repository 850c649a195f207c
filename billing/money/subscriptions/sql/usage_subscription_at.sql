-- An account's open subscription as it is at `p_at` by what is scheduled, whether or not its own
-- steps have run since: `canceled` from its end on; from the end of its period on `paused`, or with
-- the plan, that was asked for then, and in the next cycle. `changes_at`: when the first of these
-- is to come; null: none is. Expects the account's rows to be shown; inlined where it is called.
CREATE OR REPLACE FUNCTION usage_subscription_at(p_account_id uuid, p_at timestamptz)
RETURNS TABLE (
    id uuid, status text, plan_id uuid, amount_minor bigint, cycle_start timestamptz,
    ended_at timestamptz, changes_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT s.id,
        CASE WHEN e.at <= p_at THEN 'canceled'
            WHEN n.is_next AND pause.id IS NOT NULL AND s.status IN ('active', 'past_due')
                THEN 'paused'
            ELSE s.status END,
        CASE WHEN n.is_next AND plan.id IS NOT NULL THEN (plan.terms ->> 'plan_id')::uuid
            ELSE s.plan_id END,
        CASE WHEN n.is_next AND plan.id IS NOT NULL
            THEN (plan.terms ->> 'unit_minor')::bigint * (plan.terms ->> 'quantity')::bigint
            ELSE s.amount_minor END,
        CASE WHEN n.is_next THEN s.current_period_end ELSE s.cycle_start END,
        CASE WHEN e.at <= p_at THEN e.at END,
        least(CASE WHEN e.at > p_at THEN e.at END, CASE
            WHEN s.status <> 'paused' AND NOT n.is_next
                AND num_nonnulls(pause.id, plan.id) > 0 THEN s.current_period_end END)
    FROM subscriptions AS s
    CROSS JOIN LATERAL (SELECT CASE WHEN s.cancel_at_period_end THEN s.current_period_end
        ELSE s.cancel_at END AS at) AS e
    -- A pause has no next period: what is scheduled waits.
    CROSS JOIN LATERAL (
        SELECT s.current_period_end <= p_at AND s.status <> 'paused' AS is_next) AS n
    LEFT JOIN subscription_changes AS pause
        ON pause.subscription_id = s.id AND pause.kind = 'pause' AND pause.status = 'scheduled'
    LEFT JOIN subscription_changes AS plan
        ON plan.subscription_id = s.id AND plan.kind = 'plan' AND plan.status = 'scheduled'
    WHERE s.account_id = p_account_id
        AND s.status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused')
$$;
