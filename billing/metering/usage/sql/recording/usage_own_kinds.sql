-- Uses of accounts with prices of their own become uses of kinds of their own: `kinds` are those
-- given and, behind them, each that has own prices, once for every price; `uses` say which one they
-- are of; `own` are the prices. One that changed between an account's first use of the kind and its
-- last is null there, as is one that is not of one unit, or that the product service names in money
-- only: its uses go the long way.
CREATE OR REPLACE FUNCTION usage_own_kinds(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[],
    OUT kinds usage_kind[], OUT uses usage_input[], OUT own usage_own_price[])
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    WITH found AS MATERIALIZED (
        SELECT u.account, u.kind, o.unit_price
        FROM (
            SELECT n.account, n.kind, a.account_id, min(coalesce(n.used_at, a.as_of)) AS first_at,
                max(coalesce(n.used_at, a.as_of)) AS last_at
            FROM unnest(p_uses) AS n JOIN unnest(p_accounts) AS a ON a.place = n.account
            WHERE a.has_prices
            GROUP BY n.account, n.kind, a.account_id) AS u
        CROSS JOIN LATERAL (
            SELECT count(*) AS prices,
                CASE WHEN count(*) FILTER (WHERE currency = 'CREDIT') = 1 AND bool_and(
                    currency <> 'CREDIT' OR model = 'per_unit' AND free_units = 0
                    AND effective_from <= u.first_at
                    AND u.last_at < coalesce(effective_to, 'infinity'))
                THEN min(unit_price) FILTER (WHERE currency = 'CREDIT') END AS unit_price
            FROM price_overrides
            WHERE account_id = u.account_id AND product = (p_kinds[u.kind]).product_id
                AND (currency = 'CREDIT' OR source = 'service') AND effective_from <= u.last_at
                AND u.first_at < coalesce(effective_to, 'infinity')) AS o
        WHERE o.prices > 0
    ), added AS MATERIALIZED (
        SELECT kind, unit_price,
            cardinality(p_kinds) + row_number() OVER (ORDER BY kind, unit_price)::integer AS place
        FROM found
        GROUP BY kind, unit_price
    )
    SELECT
        p_kinds || ARRAY(SELECT p_kinds[kind] FROM added ORDER BY place),
        ARRAY(
            SELECT ROW(
                u.place, u.account, coalesce(d.place, u.kind), u.share, u.id, u.hash, u.event_id,
                u.amount, u.used_at, u.user_id, u.organization_id, u.session_id, u.request_id,
                u.detail, u.hold_id)::usage_input
            FROM unnest(p_uses) AS u
            LEFT JOIN (
                SELECT f.account, f.kind, g.place
                FROM found AS f JOIN added AS g
                    ON g.kind = f.kind AND g.unit_price IS NOT DISTINCT FROM f.unit_price) AS d
                ON d.account = u.account AND d.kind = u.kind
            ORDER BY u.place),
        ARRAY(SELECT ROW(place, unit_price)::usage_own_price FROM added ORDER BY place)
$$;
