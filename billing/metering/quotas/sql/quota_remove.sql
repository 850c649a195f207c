-- Remove a quota that was set. A user's own is replaced by the default, with the use of its window,
-- and tells of the thresholds that it has reached; removing the default removes it from all users.
-- Takes the account's lock.
CREATE OR REPLACE FUNCTION quota_remove(p_account_id uuid, p_quota_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    gone record;
    other record;
    period record;
    written uuid;
BEGIN
    SELECT owner, meter, window_kind, window_start INTO gone
    FROM billing_quotas WHERE id = p_quota_id AND account_id = p_account_id;
    SELECT span_seconds, limit_amount, is_hard, alert_percents INTO other
    FROM billing_quotas
    WHERE account_id = p_account_id AND owner = 'u*' AND NOT is_derived AND meter = gone.meter
        AND window_kind = gone.window_kind AND starts_with(gone.owner, 'u:');
    IF FOUND THEN
        written := quota_write(
            p_account_id,
            ROW(gone.owner, gone.meter, gone.window_kind, other.span_seconds, other.limit_amount,
                other.is_hard, other.alert_percents)::quota_input,
            gone.window_start, true, p_at);
        PERFORM usage_open_period(p_account_id, p_at);
        SELECT p.zone, p.start_at INTO period
        FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
        WHERE b.account_id = p_account_id;
        PERFORM quota_notify(
            p_account_id, period.zone, period.start_at, ARRAY[written], p_at);
        RETURN;
    END IF;
    DELETE FROM quota_slices WHERE quota_id = p_quota_id;
    DELETE FROM billing_quotas WHERE id = p_quota_id AND account_id = p_account_id;
    IF gone.owner = 'u*' THEN
        PERFORM quota_take_back(p_account_id, gone.meter, gone.window_kind);
    END IF;
END;
$$;
