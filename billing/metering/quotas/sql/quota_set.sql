-- A new or changed quota of one owner, meter and kind of window; it starts with what was counted
-- in its window already, recorded or claimed. Answers its id. Takes the account's lock.
CREATE OR REPLACE FUNCTION quota_set(p_account_id uuid, p_quota quota_input, p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    period record;
    begins timestamptz;
    counted record;
    written record;
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
    PERFORM quota_roll_windows(p_account_id, period.zone, period.start_at, p_at);
    begins := quota_window(
        p_quota.window_kind, p_quota.span_seconds, period.zone, period.start_at, p_at);
    -- Claims whose use is recorded: without a quota nobody closed them.
    UPDATE quota_claims AS c SET status = 'settled'
    WHERE account_id = p_account_id AND status = 'open'
        AND EXISTS (
            SELECT 1 FROM billing_records WHERE id = c.id
                AND month = ANY (usage_record_months(c.id)));
    counted := quota_counted(p_account_id, p_quota, begins);
    UPDATE billing_quotas SET plain_until = NULL
    WHERE account_id = p_account_id AND meter = p_quota.meter AND plain_until IS NOT NULL;
    INSERT INTO billing_quotas AS q (
        id, account_id, owner, meter, window_kind, span_seconds, limit_amount, is_hard,
        alert_percents, window_start, used, used_before, created_at, updated_at)
    VALUES (uuidv7(), p_account_id, p_quota.owner, p_quota.meter, p_quota.window_kind,
        p_quota.span_seconds, p_quota.limit_amount, p_quota.is_hard, p_quota.alert_percents,
        -- Beyond any limit there is nothing more to know.
        begins, least(999999999999999, counted.used),
        least(999999999999999, counted.used_before), p_at, p_at)
    ON CONFLICT (account_id, meter, owner, window_kind) DO UPDATE SET
        span_seconds = excluded.span_seconds, limit_amount = excluded.limit_amount,
        is_hard = excluded.is_hard, alert_percents = excluded.alert_percents,
        updated_at = excluded.updated_at, plain_until = NULL,
        -- Another span is another window.
        window_start = CASE WHEN q.span_seconds IS DISTINCT FROM excluded.span_seconds
            THEN excluded.window_start ELSE q.window_start END
    RETURNING q.id, old.span_seconds AS span_before INTO written;
    IF p_quota.span_seconds IS NOT NULL THEN
        PERFORM quota_cut_slices(p_account_id, written.id, p_quota, written.span_before);
        PERFORM quota_roll_windows(p_account_id, period.zone, period.start_at, p_at);
    END IF;
    RETURN written.id;
END;
$$;
