-- Limits agreed with an account, which go before its plan's. Each expects the account's rows to be
-- shown.

-- The limits of a plan, as the plan lists them, with what was agreed with the account in their
-- stead. At the account's own time, or at `p_at` where that is ahead: who waited for the account's
-- lock may bring a time from before what was agreed meanwhile.
CREATE OR REPLACE FUNCTION usage_agreed_limits(
    p_account_id uuid, p_limits jsonb, p_at timestamptz DEFAULT '-infinity')
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    WITH agreed AS MATERIALIZED (
        SELECT o.meter, jsonb_build_object(
            'meter', o.meter, 'included', public_decimal(o.included), 'then', o.beyond,
            'prices', o.prices) AS lim
        FROM limit_overrides AS o CROSS JOIN (
            SELECT greatest(p_at, coalesce(
                (SELECT clock_at FROM accounts WHERE id = p_account_id), clock_timestamp()))
        ) AS n(now_at)
        WHERE o.account_id = p_account_id AND o.effective_from <= n.now_at
            AND n.now_at < coalesce(o.effective_to, 'infinity')
    )
    SELECT CASE WHEN EXISTS (SELECT FROM agreed) THEN (
        SELECT jsonb_agg(coalesce(a.lim, p.lim) ORDER BY p.place, a.meter)
        FROM jsonb_array_elements(p_limits) WITH ORDINALITY AS p(lim, place)
        FULL JOIN agreed AS a ON a.meter = p.lim ->> 'meter')
        ELSE p_limits END
$$;
