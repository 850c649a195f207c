-- The allowance cycle of the subscription that holds `p_at`, begun here where the subscription's
-- own step has not begun it yet, so that no use falls between periods or into a past one. All null
-- without a subscription that counts.
CREATE OR REPLACE FUNCTION usage_subscribed_period(
    p_account_id uuid, p_at timestamptz,
    OUT subscription_id uuid, OUT start_at timestamptz, OUT end_at timestamptz, OUT zone text,
    OUT currency text, OUT limits jsonb)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    sub record;
BEGIN
    SELECT s.id, s.cycle_start, s.cycle_end, s.current_period_end, s.zone, s.currency,
        s.anchor_wall, s.interval_unit, s.interval_count, p.allowance_unit, p.allowance_count,
        usage_limits_of(
            usage_agreed_limits(s.account_id, p.limits, p_at), s.status, p.past_due_access,
            s.currency) AS limits
    INTO sub
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    WHERE s.account_id = p_account_id
        AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused');
    IF NOT FOUND THEN
        RETURN;
    END IF;
    start_at := sub.cycle_start;
    end_at := sub.cycle_end;
    WHILE end_at <= p_at LOOP
        start_at := end_at;
        end_at := least(
            usage_boundary(sub.anchor_wall, sub.zone, sub.allowance_unit, sub.allowance_count,
                start_at),
            usage_boundary(sub.anchor_wall, sub.zone, sub.interval_unit, sub.interval_count,
                start_at));
    END LOOP;
    subscription_id := sub.id;
    zone := sub.zone;
    currency := sub.currency;
    limits := usage_with_add_ons(sub.id, sub.current_period_end, sub.limits, start_at);
END;
$$;
