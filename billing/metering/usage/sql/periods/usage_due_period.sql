-- The period that should be the account's open one at `p_at`. It continues while the same
-- subscription, or none, has the same month; else it begins where the open one must end.
-- `plan_changes_at`: when what is scheduled by now changes the plan next; null: never.
-- `terms_until`: when that or what is agreed does, if it is before the period's end. Reads only.
CREATE OR REPLACE FUNCTION usage_due_period(
    p_account_id uuid, p_at timestamptz,
    OUT subscription_id uuid, OUT plan_id uuid, OUT start_at timestamptz, OUT end_at timestamptz,
    OUT zone text, OUT currency text, OUT limits jsonb, OUT no_entitlement text,
    OUT carried_since timestamptz, OUT plan_changes_at timestamptz, OUT terms_until timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    known record;
    given record := usage_plan_period(p_account_id, p_at);
BEGIN
    SELECT p.start_at, p.end_at, p.zone, p.subscription_id, p.no_entitlement INTO known
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    subscription_id := given.subscription_id;
    plan_id := given.plan_id;
    start_at := given.start_at;
    end_at := given.end_at;
    zone := given.zone;
    currency := given.currency;
    no_entitlement := given.no_entitlement;
    carried_since := given.carried_since;
    IF known.end_at > p_at AND known.subscription_id IS NOT DISTINCT FROM subscription_id THEN
        IF given.is_month THEN
            -- A changed zone waits for the next month.
            end_at := known.end_at;
            zone := known.zone;
            carried_since := (usage_month(zone, p_at)).start_at;
        END IF;
        IF no_entitlement = 'paused' AND known.no_entitlement IS NULL THEN
            -- What was used until a pause may still come: it was given then.
            start_at := greatest(p_at, known.start_at + interval '1 microsecond');
        ELSIF given.is_month THEN
            start_at := known.start_at;
        ELSIF known.start_at > start_at AND known.start_at < end_at THEN
            start_at := known.start_at;
        END IF;
    ELSIF known.end_at > p_at AND (given.is_month
        OR known.start_at + interval '1 microsecond' < end_at AND (known.start_at > start_at
            OR known.start_at = start_at AND known.subscription_id IS NOT NULL))
    THEN
        -- What ends keeps its row, even at the instant it began: no two begin at once, and what
        -- follows is the latest.
        start_at := greatest(start_at,
            CASE WHEN given.is_month THEN least(p_at, given.ended_at) END,
            known.start_at + interval '1 microsecond');
    ELSIF given.is_month THEN
        start_at := greatest(start_at, known.end_at, given.ended_at);
    END IF;
    limits := CASE WHEN given.carries_limits IS NOT TRUE THEN given.limits
        ELSE usage_carry_over(p_account_id, given.limits, carried_since, start_at) END;
    IF carried_since IS NOT NULL AND limits @? '$.*.price ? (@.type() == "object")' THEN
        limits := usage_free_left(p_account_id, limits, carried_since, start_at);
    END IF;
    plan_changes_at := given.changes_at;
    terms_until := nullif(least(end_at, plan_changes_at, (
        SELECT min(t.at) FROM limit_overrides AS o
        CROSS JOIN LATERAL (VALUES (o.effective_from), (o.effective_to)) AS t(at)
        WHERE o.account_id = p_account_id AND t.at > p_at)), end_at);
END;
$$;
