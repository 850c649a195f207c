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

-- What a use adds to a quota beside what its claim has counted there: to the window, and (nothing,
-- or less) to the one before. A claim covers what it was counted on: its own meter, user and
-- organisation, in the window it was made in. A rolling quota has the window before in sight as
-- well, where a use stays that was claimed in it. What a claim counted too much is given back.
CREATE OR REPLACE FUNCTION quota_rest(
    p_quota billing_quotas, p_user text, p_organization text, p_meter text, p_amount numeric,
    p_claim quota_claims)
RETURNS TABLE (added numeric, added_before numeric)
LANGUAGE sql STABLE AS $$
    SELECT u.amount - c.now - least(u.amount, c.before), least(u.amount, c.before) - c.before
    FROM (
        SELECT CASE WHEN p_meter = p_quota.meter
            AND p_quota.owner IN ('', 'u:' || p_user, 'o:' || p_organization)
            THEN p_amount ELSE 0 END AS amount) AS u
    CROSS JOIN (
        SELECT
            CASE WHEN there AND p_claim.claimed_at >= p_quota.window_start
                THEN p_claim.amount ELSE 0 END AS now,
            CASE WHEN there AND p_claim.claimed_at < p_quota.window_start
                AND p_claim.claimed_at >= p_quota.window_start
                    - make_interval(secs => p_quota.span_seconds)
                THEN p_claim.amount ELSE 0 END AS before
        FROM (
            SELECT p_claim.meter = p_quota.meter AND p_quota.owner IN (
                '', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id) AS there) AS m) AS c
$$;

-- Count uses of one account on every quota they fall under, each beside what was claimed for it,
-- and tell of the thresholds this crosses. Each row is a record's id, a user, an organisation, a
-- meter and an amount; an id alone gives back all that was claimed for it.
CREATE OR REPLACE FUNCTION quota_add(
    p_account_id uuid, p_ids uuid[], p_users text[], p_organizations text[], p_meters text[],
    p_amounts numeric[], p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    quota record;
    percent integer;
BEGIN
    FOR quota IN
        WITH uses AS MATERIALIZED (
            SELECT u.*, c.claim
            FROM unnest(p_ids, p_users, p_organizations, p_meters, p_amounts)
                AS u(id, client, organization, meter, amount)
            LEFT JOIN LATERAL (
                SELECT k AS claim FROM quota_claims AS k
                WHERE k.id = u.id AND k.status = 'open' LIMIT 1) AS c ON true
        ), sums AS (
            SELECT q.id, sum(r.added) AS added, sum(r.added_before) AS added_before
            FROM billing_quotas AS q CROSS JOIN uses AS u
            CROSS JOIN LATERAL quota_rest(
                q, u.client, u.organization, u.meter, u.amount, u.claim) AS r
            WHERE q.account_id = p_account_id
            GROUP BY q.id
        )
        UPDATE billing_quotas AS q
        SET used = greatest(0, q.used + s.added),
            used_before = greatest(0, q.used_before + s.added_before), updated_at = p_at
        FROM sums AS s
        WHERE q.account_id = p_account_id AND q.id = s.id
            AND (s.added <> 0 OR s.added_before <> 0)
        RETURNING q.id, q.meter, q.owner, q.limit_amount, q.alert_percents, q.window_start,
            quota_used(old.used, old.used_before, q.span_seconds, q.window_start, p_at) AS was,
            quota_used(new.used, new.used_before, q.span_seconds, q.window_start, p_at) AS used
    LOOP
        FOREACH percent IN ARRAY quota.alert_percents LOOP
            IF quota.was * 100 < quota.limit_amount * percent
                AND quota.used * 100 >= quota.limit_amount * percent
            THEN
                PERFORM usage_alert(
                    p_account_id, 'quota ' || quota.id, quota.meter, quota.owner, percent,
                    quota.window_start, quota.limit_amount, quota.used, p_at);
            END IF;
        END LOOP;
    END LOOP;
END;
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
    lapsed uuid[];
    quota record;
BEGIN
    PERFORM 1 FROM billing_quotas WHERE account_id = p_account_id FOR NO KEY UPDATE;
    lapsed := ARRAY(
        SELECT id FROM quota_claims
        WHERE account_id = p_account_id AND status = 'open' AND expires_at <= p_at);
    IF cardinality(lapsed) > 0 THEN
        PERFORM quota_add(p_account_id, lapsed, '{}', '{}', '{}', '{}', p_at);
        UPDATE quota_claims SET status = 'lapsed' WHERE id = ANY (lapsed);
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
