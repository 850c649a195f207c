-- The lot of each account that burns first; null where accounts come twice, or where one lot does
-- not cover its account's amount by itself.
CREATE OR REPLACE FUNCTION credit_first_lots(
    p_account_ids uuid[], p_amounts numeric[], p_bought_only boolean)
RETURNS uuid[]
LANGUAGE sql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT CASE WHEN count(DISTINCT i.account_id) = count(*) AND bool_and(l.free >= i.amount)
        THEN array_agg(l.id ORDER BY i.place) END
    FROM unnest(p_account_ids, p_amounts) WITH ORDINALITY AS i(account_id, amount, place)
    LEFT JOIN LATERAL (
        SELECT o.id, o.free FROM credit_burn_order(i.account_id) AS o
        WHERE credit_may_burn(o.scope, o.is_paid, NULL, p_bought_only)
        LIMIT 1) AS l ON true
$$;
