-- Move these uses' quotas to an instant and lock them, including defaults that users get now: past
-- windows restart with what was recorded ahead of them, and rolling ones drop old use. The
-- account's expired claims are released, on other quotas too, which are then locked as well; of
-- very many a part (quota_part_size), first those of these uses, then those of the same meters, and
-- of these those of the same users and organisations. What is left counts for no check
-- (quota_expired).
-- From here on only the caller counts on these quotas, not even quota_claim_fast. Expects the
-- account's lock.
CREATE OR REPLACE FUNCTION quota_open_windows(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_uses quota_timed_use[],
    p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    concerned uuid[];
    expired quota_timed_use[];
BEGIN
    PERFORM quota_give_users(p_account_id, p_zone, p_period_start, p_uses, p_at);
    concerned := quota_concerned(p_account_id, p_uses);
    expired := ARRAY(
        SELECT ROW(c.id, NULL, NULL, NULL, NULL, NULL, NULL)::quota_timed_use
        FROM quota_claims AS c
        WHERE c.account_id = p_account_id AND c.status = 'open' AND c.expires_at <= p_at
        ORDER BY coalesce(c.id IN (SELECT u.id FROM unnest(p_uses) AS u), false) DESC,
            coalesce(c.meter = ANY (ARRAY(SELECT u.meter FROM unnest(p_uses) AS u)), false) DESC,
            coalesce(c.user_id = ANY (ARRAY(SELECT u.user_id FROM unnest(p_uses) AS u))
                OR c.organization_id = ANY (
                    ARRAY(SELECT u.organization_id FROM unnest(p_uses) AS u)), false) DESC,
            c.expires_at
        LIMIT quota_part_size());
    PERFORM 1 FROM billing_quotas
    WHERE id = ANY (concerned || quota_concerned(p_account_id, expired))
    ORDER BY id FOR NO KEY UPDATE;
    IF cardinality(expired) > 0 THEN
        PERFORM quota_apply(p_account_id, expired, p_at);
        UPDATE quota_claims SET status = 'expired'
        WHERE id = ANY (ARRAY(SELECT id FROM unnest(expired)));
    END IF;
    UPDATE billing_quotas AS q
    SET window_start = w.begins, plain_until = NULL, used = w.used, used_before = 0
    FROM (
        SELECT b.quota AS id, b.begins, least(999999999999999, greatest(0, CASE
            WHEN (b.row).span_seconds IS NULL THEN quota_recorded(b.row, p_zone, b.begins)
            ELSE quota_in_sight(b.quota, (b.row).span_seconds, p_at) END)) AS used
        FROM (
            SELECT known.id AS quota, known AS row, greatest(known.window_start, quota_window(
                known.window_kind, known.span_seconds, p_zone, p_period_start, p_at)) AS begins
            FROM billing_quotas AS known WHERE known.id = ANY (concerned)) AS b
        WHERE (b.row).span_seconds IS NOT NULL OR b.begins > (b.row).window_start) AS w
    WHERE q.id = w.id
        AND (w.begins > q.window_start OR w.used <> q.used OR q.used_before <> 0);
    -- No use of such an age is taken any more.
    DELETE FROM quota_slices AS s USING billing_quotas AS q
    WHERE q.id = ANY (concerned) AND q.span_seconds IS NOT NULL AND s.quota_id = q.id
        AND s.ends_at < p_at - usage_late_limit() - make_interval(secs => q.span_seconds);
END;
$$;
