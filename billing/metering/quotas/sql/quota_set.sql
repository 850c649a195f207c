-- Set or update the quota of an owner, meter and kind of window; it starts with its window's
-- earlier use and claims. Updating a default updates the users' copies. Notifies of reached
-- thresholds. Returns its id. Takes the account's lock.
CREATE OR REPLACE FUNCTION quota_set(p_account_id uuid, p_quota quota_input, p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    period record;
    own CONSTANT quota_timed_use[] := ARRAY[ROW(
        NULL, CASE WHEN starts_with(p_quota.owner, 'u:') THEN substr(p_quota.owner, 3) END,
        CASE WHEN starts_with(p_quota.owner, 'o:') THEN substr(p_quota.owner, 3) END,
        p_quota.meter, 0, NULL, NULL)::quota_timed_use];
    written uuid;
BEGIN
    IF p_quota.limit_amount < 0 OR p_quota.span_seconds <= 0
        OR p_quota.window_kind NOT IN ('day', 'month', 'cycle', 'rolling')
        OR (p_quota.window_kind = 'rolling') <> (p_quota.span_seconds IS NOT NULL)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'there is no such quota';
    END IF;
    PERFORM usage_open_period(p_account_id, p_at);
    SELECT p.zone, p.start_at INTO period
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    PERFORM quota_open_windows(p_account_id, period.zone, period.start_at, own, p_at);
    -- Claims whose use is recorded: without a quota nobody closed them.
    UPDATE quota_claims AS c SET status = 'settled'
    WHERE account_id = p_account_id AND status = 'open'
        AND EXISTS (
            SELECT 1 FROM billing_records WHERE id = c.id
                AND month = ANY (usage_record_months(c.id)));
    UPDATE billing_quotas SET plain_until = NULL
    WHERE account_id = p_account_id AND meter = p_quota.meter AND NOT is_derived
        AND plain_until IS NOT NULL;
    written := quota_write(
        p_account_id, p_quota, quota_window(
            p_quota.window_kind, p_quota.span_seconds, period.zone, period.start_at, p_at),
        false, p_at);
    IF p_quota.owner = 'u*' THEN
        PERFORM quota_set_copies(p_account_id, period.zone, period.start_at, p_quota, p_at);
    END IF;
    PERFORM quota_open_windows(p_account_id, period.zone, period.start_at, own, p_at);
    PERFORM quota_notify(p_account_id, period.zone, period.start_at, ARRAY[written], p_at);
    RETURN written;
END;
$$;
