-- Make the period of `p_at` the account's open one (usage_due_period); the previous one ends where
-- it starts. Takes the account's lock; expects its rows to be shown.
CREATE OR REPLACE FUNCTION usage_open_period(p_account_id uuid, p_at timestamptz) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    known record;
    wanted record;
    opened uuid;
BEGIN
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    SELECT p.id, p.start_at, p.end_at, p.zone, p.subscription_id, p.plan_id, p.currency, p.limits,
        p.no_entitlement, p.carried_since, p.terms_until
    INTO known
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    wanted := usage_due_period(p_account_id, p_at);
    IF wanted.start_at IS NULL
        OR (known.start_at, known.end_at, known.zone, known.subscription_id, known.plan_id,
            known.currency, known.limits, known.no_entitlement, known.carried_since,
            known.terms_until)
        IS NOT DISTINCT FROM
        (wanted.start_at, wanted.end_at, wanted.zone, wanted.subscription_id, wanted.plan_id,
            wanted.currency, wanted.limits, wanted.no_entitlement, wanted.carried_since,
            wanted.terms_until)
    THEN
        RETURN;
    END IF;

    INSERT INTO usage_periods AS p (
        id, account_id, start_at, end_at, zone, subscription_id, plan_id, currency, limits,
        no_entitlement, carried_since, terms_until, limits_before)
    VALUES (uuidv7(), p_account_id, wanted.start_at, wanted.end_at, wanted.zone,
        wanted.subscription_id, wanted.plan_id, wanted.currency, wanted.limits,
        wanted.no_entitlement, wanted.carried_since, wanted.terms_until,
        usage_terms_before_order(p_account_id, wanted.no_entitlement, wanted.start_at, p_at))
    ON CONFLICT (account_id, start_at) DO UPDATE
    SET end_at = excluded.end_at, zone = excluded.zone, closed_at = NULL,
        subscription_id = excluded.subscription_id, plan_id = excluded.plan_id,
        currency = excluded.currency, limits = excluded.limits,
        no_entitlement = excluded.no_entitlement, carried_since = excluded.carried_since,
        terms_until = excluded.terms_until,
        limits_before = p.limits_before || usage_terms_that_end(p.limits, p.no_entitlement,
            excluded.limits, excluded.no_entitlement, least(p_at, p.terms_until))
    RETURNING p.id INTO opened;
    UPDATE usage_periods SET end_at = least(end_at, wanted.start_at), closed_at = p_at
    WHERE id = known.id AND known.id <> opened AND start_at < wanted.start_at;
    -- What this one goes on from counts its use, too: a late use finds the same free units.
    UPDATE usage_periods SET carried_since = wanted.carried_since
    WHERE account_id = p_account_id AND start_at < wanted.start_at
        AND start_at >= wanted.carried_since AND carried_since IS NULL;
    UPDATE credit_balances SET period_id = opened
    WHERE account_id = p_account_id AND period_id IS DISTINCT FROM opened;
    IF (known.id, known.end_at, known.terms_until, known.limits, known.no_entitlement)
        IS DISTINCT FROM
        (opened, wanted.end_at, wanted.terms_until, wanted.limits, wanted.no_entitlement)
    THEN
        -- What the plan says is another thing now.
        UPDATE billing_quotas SET plain_until = NULL
        WHERE account_id = p_account_id AND NOT is_derived AND plain_until IS NOT NULL;
    END IF;
    IF known.id = opened AND known.limits <> wanted.limits THEN
        PERFORM usage_follow_growth(p_account_id, wanted.start_at, p_at);
    END IF;
    IF known.id = opened OR wanted.carried_since IS NOT NULL THEN
        PERFORM usage_notify_shrunk(p_account_id, wanted.start_at, known.limits, p_at);
    END IF;
END;
$$;
