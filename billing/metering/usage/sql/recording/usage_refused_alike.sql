-- The answers to uses that ask for the same as one that was refused just before them, when nothing
-- was written in between. None if any asks for something else, or has a claim, which its quota has
-- counted already.
CREATE OR REPLACE FUNCTION usage_refused_alike(p_refused usage_rated, p_uses usage_input[])
RETURNS SETOF usage_answer
LANGUAGE sql STABLE AS $$
    SELECT u.place, a.verdict, u.id, a.meter, a.unit_price, a.total, a.currency, a.method,
        a.status, a.is_free, a.is_included, a.required, a.available
    FROM unnest(p_uses) AS u CROSS JOIN usage_answer_of(p_refused) AS a
    WHERE NOT EXISTS (
        SELECT FROM unnest(p_uses) AS o
        WHERE ROW(o.account, o.kind, o.amount, o.used_at, o.user_id, o.organization_id)
            IS DISTINCT FROM ROW((p_refused.use).account, (p_refused.use).kind,
                (p_refused.use).amount, (p_refused.use).used_at, (p_refused.use).user_id,
                (p_refused.use).organization_id)
        OR EXISTS (SELECT FROM quota_claims AS c WHERE c.id = o.id))
$$;
