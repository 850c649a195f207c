-- Quotas and what was claimed of them beforehand. Each expects the account's lock.

-- Start of the window that an instant lies in.
CREATE OR REPLACE FUNCTION quota_window(
    p_kind text, p_span integer, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE p_kind
        WHEN 'cycle' THEN p_period_start
        WHEN 'rolling' THEN to_timestamp(div(extract(epoch FROM p_at), p_span) * p_span)
        ELSE date_trunc(p_kind, p_at AT TIME ZONE p_zone) AT TIME ZONE p_zone
    END
$$;

-- What a quota's window has used: a rolling one counts the part of the window before that is still
-- in sight, as if it had been used evenly.
CREATE OR REPLACE FUNCTION quota_used(
    p_used numeric, p_before numeric, p_span integer, p_window_start timestamptz,
    p_at timestamptz)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN p_span IS NULL OR p_before = 0 THEN p_used
        ELSE p_used + round(p_before * greatest(0, 1 - (extract(epoch FROM p_at)
            - extract(epoch FROM p_window_start)) / p_span), 12)
    END
$$;

-- Bring an account's quotas to an instant, and keep them there: claims that nobody settled in time
-- are given back, and windows that are over begin anew. From here on nobody counts on them but the
-- caller, not even by quota_consume.
CREATE OR REPLACE FUNCTION quota_settle(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    claim quota_claims;
    quota record;
BEGIN
    PERFORM 1 FROM billing_quotas WHERE account_id = p_account_id FOR NO KEY UPDATE;
    FOR claim IN
        UPDATE quota_claims SET status = 'lapsed'
        WHERE account_id = p_account_id AND status = 'open' AND expires_at <= p_at
        RETURNING *
    LOOP
        UPDATE billing_quotas SET used = greatest(0, used - claim.amount)
        WHERE account_id = p_account_id AND meter = claim.meter
            AND owner IN ('', 'u:' || claim.user_id, 'o:' || claim.organization_id)
            AND window_start <= claim.claimed_at;
    END LOOP;
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

-- Add to every quota that a use falls under, and tell of the thresholds this crosses.
CREATE OR REPLACE FUNCTION quota_add(
    p_account_id uuid, p_user text, p_organization text, p_meter text, p_amount numeric,
    p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    quota record;
    percent integer;
BEGIN
    FOR quota IN
        UPDATE billing_quotas SET used = greatest(0, used + p_amount), updated_at = p_at
        WHERE account_id = p_account_id AND meter = p_meter
            AND owner IN ('', 'u:' || p_user, 'o:' || p_organization)
        RETURNING id, owner, limit_amount, alert_percents, window_start,
            quota_used(old.used, used_before, span_seconds, window_start, p_at) AS was,
            quota_used(new.used, used_before, span_seconds, window_start, p_at) AS used
    LOOP
        FOREACH percent IN ARRAY quota.alert_percents LOOP
            IF quota.was * 100 < quota.limit_amount * percent
                AND quota.used * 100 >= quota.limit_amount * percent
            THEN
                PERFORM usage_alert(
                    p_account_id, 'quota ' || quota.id, p_meter, quota.owner, percent,
                    quota.window_start, quota.limit_amount, quota.used, p_at);
            END IF;
        END LOOP;
    END LOOP;
END;
$$;

-- Whether some hard quota has less left than the uses of one account that are listed; each row is
-- a user, an organisation, a meter and an amount.
CREATE OR REPLACE FUNCTION quota_exceeded(
    p_account_id uuid, p_users text[], p_organizations text[], p_meters text[],
    p_amounts numeric[], p_at timestamptz)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_or(
        quota_used(q.used, q.used_before, q.span_seconds, q.window_start, p_at) + u.amount
            > q.limit_amount), false)
    FROM billing_quotas AS q CROSS JOIN LATERAL (
        SELECT sum(amount)
        FROM unnest(p_users, p_organizations, p_meters, p_amounts)
            AS u(client, organization, meter, amount)
        WHERE u.meter = q.meter
            AND q.owner IN ('', 'u:' || u.client, 'o:' || u.organization)) AS u(amount)
    WHERE q.account_id = p_account_id AND q.is_hard
$$;

-- How much was claimed beforehand for the record with this id.
CREATE OR REPLACE FUNCTION quota_claimed(p_id uuid) RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT amount FROM quota_claims WHERE id = p_id AND status = 'open'), 0)
$$;
