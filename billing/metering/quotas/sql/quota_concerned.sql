-- Ids of the account's quotas that apply to these uses or their claims.
CREATE OR REPLACE FUNCTION quota_concerned(p_account_id uuid, p_uses quota_timed_use[])
RETURNS uuid[]
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT ARRAY(
        SELECT q.id
        FROM (
            SELECT DISTINCT s.meter, o.owner
            FROM (
                SELECT meter, user_id, organization_id FROM unnest(p_uses)
                UNION ALL
                SELECT meter, user_id, organization_id FROM quota_claims
                WHERE id = ANY (ARRAY(SELECT u.id FROM unnest(p_uses) AS u)) AND status = 'open'
            ) AS s
            CROSS JOIN LATERAL (VALUES
                (''), ('u:' || s.user_id), ('o:' || s.organization_id)) AS o(owner)
            WHERE o.owner IS NOT NULL AND s.meter IS NOT NULL) AS w
        CROSS JOIN LATERAL (
            SELECT id FROM billing_quotas
            WHERE account_id = p_account_id AND meter = w.meter AND owner = w.owner
            -- One by one, as in quota_counts.
            OFFSET 0) AS q)
$$;
