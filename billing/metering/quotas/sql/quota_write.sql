-- Write a quota as set, or as a user's copy of the default (`p_is_derived`). A new one starts with
-- the use already counted in its window. Returns its id. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_write(
    p_account_id uuid, p_quota quota_input, p_begins timestamptz, p_is_derived boolean,
    p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    counted record;
    written record;
BEGIN
    counted := quota_counted(p_account_id, p_quota, p_begins);
    INSERT INTO billing_quotas AS q (
        id, account_id, owner, meter, window_kind, span_seconds, limit_amount, is_hard,
        alert_percents, window_start, used, used_before, is_derived, created_at, updated_at)
    VALUES (uuidv7(), p_account_id, p_quota.owner, p_quota.meter, p_quota.window_kind,
        p_quota.span_seconds, p_quota.limit_amount, p_quota.is_hard, p_quota.alert_percents,
        -- Beyond any limit there is nothing more to know.
        p_begins, least(999999999999999, counted.used),
        least(999999999999999, counted.used_before), p_is_derived, p_at, p_at)
    ON CONFLICT (account_id, meter, owner, window_kind) DO UPDATE SET
        span_seconds = excluded.span_seconds, limit_amount = excluded.limit_amount,
        is_hard = excluded.is_hard, alert_percents = excluded.alert_percents,
        is_derived = excluded.is_derived, updated_at = excluded.updated_at, plain_until = NULL,
        -- Another span is another window.
        window_start = CASE WHEN q.span_seconds IS DISTINCT FROM excluded.span_seconds
            THEN excluded.window_start ELSE q.window_start END
    RETURNING q.id, old.span_seconds AS span_before INTO written;
    IF p_quota.span_seconds IS NOT NULL THEN
        PERFORM quota_cut_slices(p_account_id, written.id, p_quota, written.span_before);
    END IF;
    RETURN written.id;
END;
$$;
