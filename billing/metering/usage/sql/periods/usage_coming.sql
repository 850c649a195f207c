-- The periods that later uses of a meter meet, by what is scheduled or agreed: with each of the
-- next changes, `p_most` of them at most, and with the first two cycles after it, the second of
-- which all further ones are like: a trial, a billing day or a cut cycle may shorten the first.
-- `p_also` are further instants, and `p_freed` those of claims that end, which count as soon as the
-- terms are other ones: before, `p_also` has the one that frees enough. `is_known`: false from
-- where the terms depend on what nobody knows yet (usage_terms_known_until).
CREATE OR REPLACE FUNCTION usage_coming(
    p_account_id uuid, p_meter text, p_at timestamptz, p_also timestamptz[],
    p_freed timestamptz[], p_most integer)
RETURNS TABLE (
    at timestamptz, start_at timestamptz, end_at timestamptz, zone text, subscription_id uuid,
    currency text, limits jsonb, no_entitlement text, carried_since timestamptz, is_known boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    instants timestamptz[] := '{}';
    since timestamptz := p_at;
    change timestamptz;
    ends timestamptz;
BEGIN
    FOR turn IN 1 .. p_most LOOP
        SELECT d.end_at, least(d.plan_changes_at, (
            SELECT min(t.at) FROM limit_overrides AS o
            CROSS JOIN LATERAL (VALUES (o.effective_from), (o.effective_to)) AS t(at)
            WHERE o.account_id = p_account_id AND o.meter = p_meter AND t.at > since))
        INTO ends, change FROM usage_due_period(p_account_id, since) AS d;
        IF change IS NULL OR ends < change THEN
            instants := instants || ends
                || (SELECT d.end_at FROM usage_due_period(p_account_id, ends) AS d);
        END IF;
        EXIT WHEN change IS NULL;
        instants := instants || change;
        since := change;
    END LOOP;
    RETURN QUERY
    SELECT i.at, d.start_at, d.end_at, d.zone, d.subscription_id, d.currency, d.limits,
        d.no_entitlement, d.carried_since, coalesce(i.at < k.until, true)
    FROM (
        SELECT unnest(instants || p_also) UNION
        SELECT f.at FROM unnest(p_freed) AS f(at)
        WHERE f.at > (SELECT min(a.at) FROM unnest(instants) AS a(at))) AS i(at)
    CROSS JOIN LATERAL usage_due_period(p_account_id, i.at) AS d
    CROSS JOIN (SELECT usage_terms_known_until(p_account_id)) AS k(until)
    WHERE d.start_at IS NOT NULL
    ORDER BY i.at;
END;
$$;
