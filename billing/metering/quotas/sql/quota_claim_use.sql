-- Check every hard quota and the plan's blocking limit, and count the use if all allow it. Its
-- record closes the claim without counting again; without a record the claim expires. Also releases
-- expired claims, rolls windows and notifies of thresholds. Takes the account's lock. Returns
-- whether the use is allowed; a repeated claim gets the first answer.
CREATE OR REPLACE FUNCTION quota_claim_use(
    p_account_id uuid, p_claim quota_claim_input, p_real_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    as_of timestamptz := coalesce(
        (SELECT clock_at FROM accounts WHERE id = p_account_id), p_real_at);
    counted_at timestamptz;
    period record;
    allowed boolean;
    asked CONSTANT quota_timed_use[] := ARRAY[ROW(
        p_claim.id, p_claim.user_id, p_claim.organization_id, p_claim.meter, p_claim.amount, NULL,
        NULL)::quota_timed_use];
    other_month CONSTANT uuid := ((usage_claimed_ids(ARRAY[p_claim.id]))[1]).id;
BEGIN
    IF p_claim.amount <= 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'nothing is claimed';
    END IF;
    PERFORM usage_open_period(p_account_id, as_of);
    SELECT p.id, p.zone, p.start_at, p.limits -> p_claim.meter AS lim INTO period
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    -- A claim of this event that is over is released now, so that it is not taken for this one.
    PERFORM quota_open_windows(
        p_account_id, period.zone, period.start_at,
        asked || ARRAY(
            SELECT ROW(other_month, NULL, NULL, NULL, NULL, NULL, NULL)::quota_timed_use
            WHERE other_month IS NOT NULL),
        as_of);
    -- It is counted in the windows that are open, also where another clock began them, or where
    -- their midnight comes twice and they begin with the second. It expires by the account's clock.
    counted_at := greatest(as_of, (
        SELECT max(window_start) FROM billing_quotas
        WHERE id = ANY (quota_concerned(p_account_id, asked))));
    allowed := EXISTS (SELECT 1 FROM quota_claims WHERE id = p_claim.id AND status <> 'expired')
        OR usage_is_known(p_claim.id);
    IF NOT allowed THEN
        allowed := quota_allows(p_account_id, p_claim, period.lim, period.start_at, as_of);
        IF allowed THEN
            PERFORM quota_apply(p_account_id, asked, counted_at);
            INSERT INTO quota_claims (
                id, account_id, event_id, user_id, organization_id, meter, amount, claimed_at,
                expires_at, status)
            VALUES (p_claim.id, p_account_id, p_claim.event_id, p_claim.user_id,
                p_claim.organization_id, p_claim.meter, p_claim.amount, counted_at,
                as_of + p_claim.lifetime, 'open')
            ON CONFLICT (id) DO UPDATE SET
                amount = excluded.amount, claimed_at = excluded.claimed_at,
                user_id = excluded.user_id, organization_id = excluded.organization_id,
                meter = excluded.meter, expires_at = excluded.expires_at, status = 'open';
        END IF;
    END IF;
    PERFORM quota_allow_fast(p_account_id, p_claim, period.id);
    RETURN allowed;
END;
$$;
