-- Bring an account's quotas to an instant and lock them: claims past their end are given back, and
-- windows that are over begin anew. From here on nobody counts on them but the caller, not even
-- quota_claim_fast. Expects the account's lock.
CREATE OR REPLACE FUNCTION quota_roll_windows(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    expired quota_use[];
    quota record;
BEGIN
    PERFORM 1 FROM billing_quotas WHERE account_id = p_account_id FOR NO KEY UPDATE;
    expired := ARRAY(
        SELECT ROW(id, NULL, NULL, NULL, NULL)::quota_use FROM quota_claims
        WHERE account_id = p_account_id AND status = 'open' AND expires_at <= p_at);
    IF cardinality(expired) > 0 THEN
        PERFORM quota_count(p_account_id, expired, p_at);
        UPDATE quota_claims SET status = 'expired'
        WHERE id = ANY (ARRAY(SELECT id FROM unnest(expired)));
    END IF;
    FOR quota IN
        SELECT id, used, window_start, span_seconds,
            quota_window(window_kind, span_seconds, p_zone, p_period_start, p_at) AS begins
        FROM billing_quotas WHERE account_id = p_account_id
    LOOP
        IF quota.begins > quota.window_start THEN
            UPDATE billing_quotas
            SET window_start = quota.begins, plain_until = NULL, used = 0, used_before = CASE
                WHEN quota.begins = quota.window_start + make_interval(secs => quota.span_seconds)
                    THEN quota.used ELSE 0 END
            WHERE id = quota.id;
        END IF;
    END LOOP;
END;
$$;
