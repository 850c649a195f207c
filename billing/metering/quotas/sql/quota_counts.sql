-- What each of these uses adds to each of the account's quotas that it falls under, and, with
-- `claimed_at`, what its open claim has added there before, to be given back. Each use and claim is
-- joined to its own quotas only: an account may have as many quotas as users.
CREATE OR REPLACE FUNCTION quota_counts(p_account_id uuid, p_uses quota_timed_use[])
RETURNS TABLE (
    quota_id uuid, use_id uuid, amount numeric, at timestamptz, period_start timestamptz,
    claimed_at timestamptz)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT q.id, o.id, o.amount, o.at, o.period_start, o.claimed_at
    FROM (
        SELECT s.id, s.meter, w.owner, s.amount, s.at, s.period_start, s.claimed_at
        FROM (
            SELECT id, user_id, organization_id, meter, amount, at, period_start,
                NULL::timestamptz AS claimed_at
            FROM unnest(p_uses)
            UNION ALL
            SELECT id, user_id, organization_id, meter, -amount, NULL, NULL, claimed_at
            FROM quota_claims
            WHERE id = ANY (ARRAY(SELECT u.id FROM unnest(p_uses) AS u)) AND status = 'open'
        ) AS s
        CROSS JOIN LATERAL (VALUES
            (''), ('u:' || s.user_id), ('o:' || s.organization_id)) AS w(owner)
        WHERE w.owner IS NOT NULL AND s.meter IS NOT NULL
        -- Under row security an index is not searched by an expression still to be computed.
        OFFSET 0) AS o
    CROSS JOIN LATERAL (
        SELECT id FROM billing_quotas
        WHERE account_id = p_account_id AND meter = o.meter AND owner = o.owner
        -- One by one: a plan made while the account had few quotas reads all for each use.
        OFFSET 0) AS q
$$;
