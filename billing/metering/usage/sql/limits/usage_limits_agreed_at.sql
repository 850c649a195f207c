-- The limits of a plan, as the plan lists them, with what was agreed with the account for `p_at` in
-- their stead.
CREATE OR REPLACE FUNCTION usage_limits_agreed_at(
    p_account_id uuid, p_limits jsonb, p_at timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    WITH agreed AS MATERIALIZED (
        SELECT o.meter, jsonb_build_object(
            'meter', o.meter, 'included', public_decimal(o.included), 'then', o.beyond,
            'prices', o.prices) AS lim
        FROM limit_overrides AS o
        WHERE o.account_id = p_account_id AND o.effective_from <= p_at
            AND p_at < coalesce(o.effective_to, 'infinity')
    )
    SELECT CASE WHEN EXISTS (SELECT FROM agreed) THEN (
        SELECT jsonb_agg(coalesce(a.lim, p.lim) ORDER BY p.place, a.meter)
        FROM jsonb_array_elements(p_limits) WITH ORDINALITY AS p(lim, place)
        FULL JOIN agreed AS a ON a.meter = p.lim ->> 'meter')
        ELSE p_limits END
$$;
