-- Check and count a use on its only quota without the account's lock. True if it was counted;
-- otherwise call quota_claim_use in a separate transaction, because this one may hold the quota's
-- lock, which must come after the account's. Precondition, stored in the row (quota_allow_fast):
-- before `plain_until` no window ends, no claim expires, and neither the plan nor another quota
-- limits this use; below `plain_below` the quota allows it and no threshold is reached. A use whose
-- event is known breaks a unique key, as its claim does if the event was claimed in this month.
CREATE OR REPLACE FUNCTION quota_claim_fast(
    p_account_id uuid, p_claim quota_claim_input, p_real_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_quotas SET used = used + p_claim.amount, updated_at = p_real_at
    WHERE account_id = p_account_id AND meter = p_claim.meter
        AND owner IN ('', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id)
        AND plain_until > p_real_at AND window_start <= p_real_at
        AND used + p_claim.amount < plain_below;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Events are looked for when the quota is locked: until then this one may be recorded.
    IF usage_is_known(p_claim.id) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'the event is known';
    END IF;
    RETURN true;
END;
$$;
