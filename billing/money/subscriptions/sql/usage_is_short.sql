-- True while the cycle of a subscription is short because of its billing day; one that an end at a
-- date cuts was sold whole. Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_is_short(p_subscription_id uuid) RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT s.cycle_whole_end IS NULL AND s.cycle_rest_of IS NULL AND s.cycle_end < usage_instant(
        s.cycle_start AT TIME ZONE s.zone
            + (p.allowance_count || ' ' || p.allowance_unit)::interval, s.zone)
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    WHERE s.id = p_subscription_id
$$;
