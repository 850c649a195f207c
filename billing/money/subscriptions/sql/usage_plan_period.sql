-- The plan that an account has at `p_at`, and the cycle that holds it: the subscription's, begun
-- here where its own step has not begun it yet, so that no use falls between periods; else the
-- calendar month, since `ended_at` where its end has come and that step has not. `changes_at`: when
-- what was scheduled comes (usage_subscription_at). `no_entitlement`: why it gives nothing. A
-- trial's add-ons wait for its end. One for which no money came yet, or whose use a bank took money
-- back for, gives overage as a trial does: usage_unpaid says up to how much.
-- A plan that costs nothing and bills no use counts by the calendar month (`is_month`), as the
-- default plan does; what was used since `carried_since` uses up what it includes
-- (`carries_limits`), and the free units and tiers of products. These go on with a plan that is
-- paid, too, where its cycle cuts one short (usage_carried_since) or follows use without one
-- (usage_unsold_since): nobody gets them anew by beginning one, nor behind a short cycle what was
-- agreed with the account (usage_agreed_left). All null for an unknown account.
CREATE OR REPLACE FUNCTION usage_plan_period(
    p_account_id uuid, p_at timestamptz,
    OUT subscription_id uuid, OUT plan_id uuid, OUT start_at timestamptz, OUT end_at timestamptz,
    OUT zone text, OUT currency text, OUT limits jsonb, OUT no_entitlement text,
    OUT is_month boolean, OUT carried_since timestamptz, OUT carries_limits boolean,
    OUT ended_at timestamptz, OUT changes_at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    sub record;
BEGIN
    SELECT t.id, t.status, t.cycle_start, s.cycle_end, s.current_period_end, s.zone, s.currency,
        t.amount_minor, t.plan_id, p.allowance_unit, p.allowance_count, t.ended_at, t.changes_at,
        p.past_due_access, p.limits, p.seats,
        (p.allowance_count || ' ' || p.allowance_unit)::interval AS length, p.add_ons,
        usage_agreed_limits(s.account_id, p.limits, p_at) AS agreed,
        CASE WHEN t.status = 'active'
            AND (usage_lost_to_banks(p_account_id) > 0 OR NOT usage_is_paid_for(s.id))
            THEN 'trialing' ELSE t.status END AS overage_as
    INTO sub
    FROM usage_subscription_at(p_account_id, p_at) AS t
    JOIN subscriptions AS s ON s.id = t.id JOIN plans AS p ON p.id = t.plan_id;
    SELECT sub.ended_at, sub.changes_at INTO ended_at, changes_at;
    IF coalesce(sub.status, 'canceled') IN ('incomplete', 'canceled') THEN
        is_month := true;
        SELECT a.zone INTO zone FROM accounts AS a WHERE a.id = p_account_id;
        limits := '{}';
        no_entitlement := sub.status;
        IF sub.status IS DISTINCT FROM 'incomplete' THEN
            SELECT d.plan_id, d.limits, d.no_entitlement INTO plan_id, limits, no_entitlement
            FROM usage_default_terms(p_account_id, p_at, false) AS d;
        END IF;
    ELSE
        SELECT sub.id, sub.plan_id, sub.zone, sub.currency
        INTO subscription_id, plan_id, zone, currency;
        no_entitlement := CASE WHEN sub.status IN ('unpaid', 'paused')
            OR (sub.status = 'past_due' AND sub.past_due_access = 'none') THEN sub.status END;
        is_month := sub.amount_minor = 0 AND sub.add_ons = '[]'
            AND (sub.allowance_unit, sub.allowance_count) = ('month', 1)
            AND NOT sub.agreed @? '$[*] ? (@.then == "overage")';
        SELECT sub.cycle_start, sub.cycle_end INTO start_at, end_at;
        WHILE end_at <= p_at AND NOT is_month LOOP
            start_at := end_at;
            end_at := usage_cycle_end(sub.id, start_at);
        END LOOP;
        limits := usage_with_units_beyond(
            usage_own_limits(sub.limits, sub.seats, sub.id, start_at), sub.id, start_at);
        limits := usage_limits_of(usage_agreed_limits(p_account_id, limits, p_at),
            sub.overage_as, sub.past_due_access, currency);
        IF sub.status <> 'trialing' OR start_at >= sub.current_period_end THEN
            limits := usage_with_add_ons(sub.id, sub.current_period_end, limits, start_at);
        END IF;
        carries_limits := usage_began_for_nothing(sub.id, start_at);
        carried_since := CASE WHEN carries_limits
            THEN date_trunc(sub.allowance_unit, start_at, zone)
            ELSE coalesce(
                usage_carried_since(p_account_id, sub.id, start_at, sub.length, zone),
                usage_unsold_since(p_account_id, sub.id, start_at, sub.length, zone)) END;
        IF NOT (carries_limits OR is_month) AND usage_is_short(sub.id) THEN
            limits := usage_agreed_left(p_account_id, sub.id, limits, start_at, p_at);
        END IF;
    END IF;
    IF is_month THEN
        carries_limits := true;
        SELECT m.start_at, m.end_at, m.start_at INTO start_at, end_at, carried_since
        FROM usage_month(zone, p_at) AS m;
    END IF;
END;
$$;
