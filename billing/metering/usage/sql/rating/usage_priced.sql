-- Uses with the price of their time, an agreed one before the product's own, else that of their
-- operation, and the period they fall into; `lim` is what limits them, or `*`. `refusal` says why a
-- use is refused whatever else happens: no price, too old …
-- A product that the product service prices for the account has no price but its own: in a currency
-- that the service does not name the catalog's does not count.
-- Inlined into usage_rate_uses.
CREATE OR REPLACE FUNCTION usage_priced(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS TABLE (
    use usage_input, kind usage_metered, account_id uuid, as_of timestamptz, used_at timestamptz,
    is_late boolean, period_start timestamptz, zone text, lim jsonb, money text, paid_in text,
    price usage_price, refusal text)
LANGUAGE sql STABLE AS $$
    WITH kinds AS MATERIALIZED (
        SELECT k AS kind, (SELECT max_per_use FROM meters WHERE key = k.meter) AS max_per_use
        FROM usage_metered_kinds(p_kinds) AS k
    ), terms AS MATERIALIZED (
        SELECT (k.kind).kind, t.currency, t.price, t.effective_from, t.effective_to
        FROM kinds AS k CROSS JOIN LATERAL (
            SELECT currency, effective_from, effective_to,
                ROW(model, unit_price, package_size, free_units,
                    coalesce(percentage, tiers))::usage_price AS price
            FROM product_prices
            WHERE product = (k.kind).product_id
                AND (currency = 'CREDIT') = ((k.kind).method IS DISTINCT FROM 'payment_charge')
            LIMIT 10000) AS t
        UNION ALL
        SELECT (k.kind).kind, 'CREDIT', c.price, c.effective_from, c.effective_to
        FROM kinds AS k CROSS JOIN LATERAL usage_operation_prices(k.kind) AS c
    ), sent AS (
        SELECT u AS use, k.kind, k.max_per_use, a AS account,
            coalesce(u.used_at, a.as_of) AS used_at,
            coalesce(u.used_at < a.start_at, false) AS is_late,
            -- A card pays in the account's currency, by a price of the product in it.
            CASE WHEN (k.kind).method = 'payment_charge' THEN (
                SELECT coalesce(currency, currency_by_default()) FROM credit_balances
                WHERE account_id = a.account_id) ELSE 'CREDIT' END AS paid_in
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN kinds AS k ON (k.kind).kind = u.kind
    ), found AS (
        SELECT s.use, s.kind, s.max_per_use, (s.account).account_id, (s.account).as_of, s.used_at,
            s.is_late, coalesce(l.start_at, (s.account).start_at) AS period_start,
            coalesce(l.zone, (s.account).zone) AS zone,
            usage_limit_of(
                CASE WHEN (s.use).used_at IS NULL THEN (s.account).limits ELSE usage_limits_at(
                    l.limits, l.no_entitlement, l.limits_before, s.used_at, l.start_at, l.end_at)
                    END - CASE WHEN t.kind IS NULL OR (s.kind).product_id IS NOT NULL
                        OR (s.kind).method = 'subscription_included' THEN '' ELSE '*' END,
                s.kind) AS lim,
            CASE WHEN s.is_late THEN l.currency ELSE (s.account).currency END AS money,
            s.paid_in, CASE WHEN o.is_own THEN o.price ELSE t.price END AS price
        FROM sent AS s
        LEFT JOIN LATERAL (
            SELECT start_at, end_at, zone, limits, currency, no_entitlement, limits_before
            FROM usage_periods
            WHERE (s.use).used_at IS NOT NULL AND account_id = (s.account).account_id
                AND start_at <= s.used_at
            ORDER BY start_at DESC LIMIT 1) AS l ON true
        LEFT JOIN terms AS t ON t.kind = (s.use).kind AND t.currency = s.paid_in
            AND s.used_at >= t.effective_from AND s.used_at < coalesce(t.effective_to, 'infinity')
        LEFT JOIN LATERAL (
            SELECT true AS is_own, CASE WHEN currency = s.paid_in THEN ROW(model, unit_price,
                package_size, free_units, coalesce(percentage, tiers))::usage_price END AS price
            FROM price_overrides
            WHERE (s.account).has_prices AND account_id = (s.account).account_id
                AND product = (s.kind).product_id AND (currency = s.paid_in OR source = 'service')
                AND effective_from <= s.used_at AND s.used_at < coalesce(effective_to, 'infinity')
            ORDER BY currency = s.paid_in DESC, effective_from DESC LIMIT 1) AS o ON true
    )
    SELECT f.use, f.kind, f.account_id, f.as_of, f.used_at, f.is_late, f.period_start, f.zone,
        f.lim, f.money, f.paid_in, f.price,
        coalesce(usage_amount_refusal(f.kind, (f.use).amount, f.max_per_use),
            usage_refusal(f.kind, f.price, f.used_at, f.as_of))
    FROM found AS f
$$;
