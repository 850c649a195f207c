-- Give the users' copies of a default quota what was set; with another span they restart. Notify of
-- the thresholds that they have reached. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_set_copies(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_quota quota_input,
    p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM billing_quotas
        WHERE account_id = p_account_id AND meter = p_quota.meter
            AND window_kind = p_quota.window_kind AND is_derived
            AND span_seconds <> p_quota.span_seconds)
    THEN
        PERFORM quota_take_back(p_account_id, p_quota.meter, p_quota.window_kind);
    END IF;
    UPDATE billing_quotas SET limit_amount = p_quota.limit_amount,
        is_hard = p_quota.is_hard, alert_percents = p_quota.alert_percents, updated_at = p_at
    WHERE account_id = p_account_id AND meter = p_quota.meter
        AND window_kind = p_quota.window_kind AND is_derived;
    PERFORM quota_notify(p_account_id, p_zone, p_period_start, ARRAY(
        SELECT id FROM billing_quotas
        WHERE account_id = p_account_id AND meter = p_quota.meter
            AND window_kind = p_quota.window_kind AND is_derived AND used > 0
            -- A window has no more than was last counted.
            AND used * 100 >= limit_amount * (
                SELECT min(t.percent) FROM unnest(p_quota.alert_percents) AS t(percent))), p_at);
END;
$$;
