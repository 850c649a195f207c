-- Places of the accounts whose uses do more to a quota than to add to its open window: they ask for
-- more than a hard one allows, reach a threshold, lie in another window or in a rolling one, were
-- claimed beforehand, come when a window or a claim is over, or are of a user who was not given yet
-- what each user has by default. The quotas they fall under are locked: nobody counts on them
-- meanwhile, not even quota_claim_fast.
CREATE OR REPLACE FUNCTION usage_beyond_quotas_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS integer[]
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
DECLARE
    quoted uuid[] := ARRAY(SELECT a.account_id FROM unnest(p_accounts) AS a WHERE a.has_quotas);
    beyond integer[];
BEGIN
    WITH sums AS MATERIALIZED (
        SELECT s.id, s.account, s.added, s.first_at, s.last_at
        FROM usage_quota_sums_fast(p_accounts, p_kinds, p_uses) AS s
    ), locked AS MATERIALIZED (
        SELECT q.id, q.window_kind, q.span_seconds, q.window_start, q.limit_amount, q.is_hard,
            q.alert_percents, q.used, q.used_before
        FROM billing_quotas AS q WHERE q.id = ANY (ARRAY(SELECT s.id FROM sums AS s))
        ORDER BY q.id FOR NO KEY UPDATE
    )
    SELECT coalesce(array_agg(s.account), '{}') INTO beyond
    FROM sums AS s
    JOIN unnest(p_accounts) AS a ON a.place = s.account
    JOIN locked AS q ON q.id = s.id
    WHERE q.span_seconds IS NOT NULL OR q.used_before <> 0
        OR q.used + s.added > CASE WHEN q.is_hard THEN q.limit_amount
            ELSE 999999999999999 END
        OR EXISTS (
            SELECT FROM unnest(q.alert_percents) AS p(percent)
            WHERE q.used * 100 < q.limit_amount * percent
                AND (q.used + s.added) * 100 >= q.limit_amount * percent)
        OR q.window_start <> ANY (ARRAY(
            SELECT quota_window(q.window_kind, NULL, a.zone, a.start_at, t.at)
            FROM (VALUES (s.first_at), (s.last_at), (a.as_of)) AS t(at)));
    -- Claims are looked for when the quotas are locked: until then some may be made.
    RETURN beyond || ARRAY(
        SELECT a.place
        FROM quota_claims AS c JOIN unnest(p_accounts) AS a ON a.account_id = c.account_id
        WHERE c.account_id = ANY (quoted) AND c.status = 'open' AND (c.expires_at <= a.as_of
            OR c.id IN (SELECT u.id FROM unnest(p_uses) AS u)))
        || ARRAY(
        SELECT a.place
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        JOIN billing_quotas AS d ON d.account_id = a.account_id AND d.meter = k.meter
        WHERE a.has_quotas AND u.user_id IS NOT NULL AND d.owner = 'u*'
            AND NOT EXISTS (
                SELECT FROM billing_quotas AS own
                WHERE own.account_id = d.account_id AND own.meter = d.meter
                    AND own.owner = 'u:' || u.user_id AND own.window_kind = d.window_kind));
END;
$$;
