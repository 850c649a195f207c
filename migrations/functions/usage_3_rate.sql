-- What each kind of use counts on: the product's own meter, else the one that goes by the name of
-- the feature or service. No meter: nothing by that name is counted.
CREATE OR REPLACE FUNCTION usage_kinds(
    p_products text[], p_services text[], p_features text[], p_operations text[],
    p_models text[], p_methods text[])
RETURNS TABLE (
    kind integer, product text, service text, feature text, operation text, model text,
    method text, meter text, counts text)
LANGUAGE sql
SET enable_nestloop = on
AS $$
    SELECT
        k.kind::integer, k.product, coalesce(k.service, p.service_type), k.feature, k.operation,
        k.model, k.method, m.key, m.kind
    FROM unnest(p_products, p_services, p_features, p_operations, p_models, p_methods)
        WITH ORDINALITY AS k(product, service, feature, operation, model, method, kind)
    LEFT JOIN LATERAL (
        SELECT meter, service_type FROM products
        WHERE key = k.product AND is_active LIMIT 1) AS p ON true
    LEFT JOIN LATERAL (
        SELECT key, kind FROM meters
        WHERE is_active AND CASE
            WHEN k.product IS NOT NULL THEN key = p.meter
            WHEN k.feature IS NOT NULL THEN key = k.feature OR feature_types ? k.feature
            ELSE service_types ? k.service END
        ORDER BY key = k.feature DESC NULLS LAST, key
        LIMIT 1) AS m ON true
$$;

-- A batch of uses, rated as if all of them were taken: what they cost after what was used before,
-- and after the rows listed before them. Reads only; expects the accounts' locks and open periods.
--
-- Rows name their account and kind (product, service, feature, method …) by position in the p_
-- arrays. Of each new row it answers a billing record, in the order of the rows:
--   `failure` says why it is refused whatever else happens (no price, too old …), or that its plan
--   allows no more (QUOTA_EXCEEDED, NOT_INCLUDED); status `processing` still needs its credits.
-- The plan's allowance goes first, then the product's free units, then its price; an agreed price
-- goes before the product's own, each as of the event's time. `p_known` are ids recorded before.
--
-- Small sets are joined by hashing; every look-up into a table is a probe of its own.
CREATE OR REPLACE FUNCTION usage_rate(
    p_accounts uuid[], p_as_of timestamptz[], p_starts timestamptz[], p_zones text[],
    p_limits jsonb[], p_money text[],
    p_products text[], p_services text[], p_features text[], p_operations text[], p_models text[],
    p_methods text[], p_agreed uuid[], p_known uuid[],
    r_account integer[], r_kind integer[], r_id uuid[], r_hash bigint[], r_event text[],
    r_amount numeric[], r_at timestamptz[], r_user text[], r_organization text[],
    r_session text[], r_request text[], r_detail jsonb[],
    OUT records billing_records[], OUT places integer[], OUT limited boolean, OUT tiered text[])
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH accounts_ AS MATERIALIZED (
        SELECT a.*
        FROM unnest(p_accounts, p_as_of, p_starts, p_zones, p_limits, p_money) WITH ORDINALITY
            AS a(account_id, as_of, start_at, zone, limits, money, account)
    ), kinds AS MATERIALIZED (
        SELECT * FROM usage_kinds(
            p_products, p_services, p_features, p_operations, p_models, p_methods)
    ), terms AS MATERIALIZED (
        SELECT k.kind, t.*
        FROM kinds AS k CROSS JOIN LATERAL (
            SELECT currency, model AS pricing, unit_price, package_size, free_units, tiers,
                effective_from, effective_to
            FROM product_prices
            WHERE product = k.product
                AND (currency = 'CREDIT') = (k.method IS DISTINCT FROM 'payment_charge')
            LIMIT 10000) AS t
    ), sent AS (
        SELECT
            r.place::integer, r.account, r.kind, r.id, r.hash, r.event, r.amount, r.client,
            r.organization, r.session, r.request, r.detail,
            a.account_id, a.as_of, coalesce(r.at, a.as_of) AS used_at, a.start_at, a.zone,
            a.limits, a.money, coalesce(r.at < a.start_at, false) AS late,
            -- A card pays in the account's currency, by a price of the product in it.
            CASE WHEN k.method = 'payment_charge' THEN (
                SELECT coalesce(currency, 'USD') FROM credit_balances
                WHERE account_id = a.account_id) ELSE 'CREDIT' END AS paid_in,
            k.product, k.service, k.feature, k.operation, k.model, k.method, k.meter, k.counts
        FROM unnest(
            r_account, r_kind, r_id, r_hash, r_event, r_amount, r_at, r_user, r_organization,
            r_session, r_request, r_detail
        ) WITH ORDINALITY AS r(
            account, kind, id, hash, event, amount, at, client, organization, session, request,
            detail, place)
        JOIN accounts_ AS a ON a.account = r.account
        JOIN kinds AS k ON k.kind = r.kind
        WHERE r.id <> ALL (p_known)
    ), priced AS (
        SELECT
            s.place, s.account, s.kind, s.id, s.hash, s.event, s.amount, s.client, s.organization,
            s.session, s.request, s.detail, s.account_id, s.as_of, s.used_at, s.late, s.product,
            s.service, s.feature, s.operation, s.model, s.method, s.meter, s.counts, s.paid_in,
            coalesce(l.start_at, s.start_at) AS period_start,
            coalesce(l.zone, s.zone) AS zone,
            CASE WHEN s.late THEN l.limits ELSE s.limits END -> s.meter AS lim,
            CASE WHEN s.late THEN l.currency ELSE s.money END AS money,
            coalesce(o.pricing, t.pricing) AS pricing,
            coalesce(o.unit_price, t.unit_price) AS unit_price,
            coalesce(o.package_size, t.package_size) AS package_size,
            coalesce(o.free_units, t.free_units) AS free_units,
            coalesce(o.tiers, t.tiers) AS tiers,
            CASE
                WHEN s.used_at > s.as_of + interval '5 minutes' THEN 'EVENT_IN_FUTURE'
                WHEN s.used_at < s.as_of - usage_late_limit() THEN 'EVENT_TOO_OLD'
                WHEN s.method = 'payment_charge' AND (
                    current_setting('app.charging', true) IS DISTINCT FROM 'on'
                    OR coalesce(o.pricing, t.pricing, '') <> 'per_unit'
                    OR coalesce(o.free_units, t.free_units) > 0)
                    THEN 'PAYMENT_CHARGE_NOT_OFFERED'
                WHEN s.product IS NULL AND s.method IN ('wallet_deduction', 'credit_consumption')
                    OR s.product IS NOT NULL AND coalesce(o.pricing, t.pricing) IS NULL
                    OR s.product IS NOT NULL AND s.meter IS NULL
                    THEN 'PRODUCT_PRICING_NOT_FOUND'
                WHEN s.meter IS NULL THEN 'METER_NOT_FOUND'
            END AS refusal
        FROM sent AS s
        LEFT JOIN LATERAL (
            SELECT start_at, zone, limits, currency FROM usage_periods
            WHERE s.late AND account_id = s.account_id AND start_at <= s.used_at
            ORDER BY start_at DESC LIMIT 1) AS l ON true
        LEFT JOIN terms AS t ON t.kind = s.kind AND t.currency = s.paid_in AND s.used_at >= t.effective_from
            AND s.used_at < coalesce(t.effective_to, 'infinity')
        LEFT JOIN LATERAL (
            SELECT model AS pricing, unit_price, package_size, free_units, tiers
            FROM price_overrides
            WHERE s.account_id = ANY (p_agreed) AND account_id = s.account_id
                AND product = s.product AND currency = s.paid_in AND effective_from <= s.used_at
                AND s.used_at < coalesce(effective_to, 'infinity')
            ORDER BY effective_from DESC LIMIT 1) AS o ON true
    ), used AS MATERIALIZED (
        -- Where what a use costs depends on what its cycle has used before.
        SELECT n.account, n.period_start, n.meter, c.quantity, c.maximum
        FROM (
            SELECT DISTINCT account, account_id, period_start, meter FROM priced
            WHERE lim IS NOT NULL OR counts IN ('max', 'last')) AS n
        CROSS JOIN LATERAL (
            SELECT quantity, maximum FROM usage_cycles
            WHERE account_id = n.account_id AND owner = '' AND period_start = n.period_start
                AND meter = n.meter
            LIMIT 1) AS c
    ), counted AS (
        SELECT
            p.*, coalesce(c.quantity, 0) + CASE
                -- What a plan that blocks has left is not for others where it was claimed
                -- beforehand; claims of these rows themselves are counted as the rows are.
                WHEN p.lim ->> 'then' = 'block' THEN quota_reserved(
                    p.account_id, p.meter, p.as_of, r_id[1 : p.place])
                ELSE 0 END AS quantity_before,
            CASE
                WHEN p.refusal IS NOT NULL THEN 0
                WHEN p.counts = 'sum' THEN p.amount
                WHEN p.counts = 'count' THEN 1
                ELSE greatest(0, p.amount - greatest(coalesce(c.maximum, 0), coalesce(
                    max(p.amount) FILTER (WHERE p.refusal IS NULL) OVER (
                        PARTITION BY p.account, p.meter, p.period_start ORDER BY p.place
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)))
            END AS delta
        FROM priced AS p
        LEFT JOIN used AS c
            ON c.account = p.account AND c.period_start = p.period_start AND c.meter = p.meter
    ), divided AS (
        SELECT
            c.*,
            c.delta - x.included AS rest,
            x.included,
            c.lim IS NOT NULL AND coalesce(c.method, 'subscription_included')
                = 'subscription_included' AS by_plan,
            c.pricing <> 'per_unit' OR c.free_units > 0 AS is_tiered
        FROM (
            SELECT counted.*, quantity_before + sum(delta) OVER (
                PARTITION BY account, meter, period_start ORDER BY place) - delta AS used_before
            FROM counted) AS c
        CROSS JOIN LATERAL (
            SELECT CASE WHEN c.lim IS NULL THEN 0 ELSE least(c.delta,
                greatest(0, (c.lim ->> 'included')::numeric - c.used_before)) END
            OFFSET 0) AS x(included)
    ), seen AS MATERIALIZED (
        -- What its product's tiers and free units have seen, and what that cost.
        SELECT n.account, n.period_start, n.product, n.meter, b.quantity, b.credits
        FROM (
            SELECT DISTINCT account, account_id, period_start, product, meter FROM divided
            WHERE is_tiered) AS n
        CROSS JOIN LATERAL (
            SELECT quantity, credits FROM usage_cycles
            WHERE account_id = n.account_id AND owner = 'p:' || n.product
                AND period_start = n.period_start AND meter = n.meter
            LIMIT 1) AS b
    ), reached AS (
        SELECT p.*, CASE WHEN p.pricing = 'volume' AND NOT p.by_plan AND p.refusal IS NULL
            THEN round(usage_cost(p.pricing, p.unit_price, p.package_size, p.free_units, p.tiers,
                p.units_before + p.rest), 6) END AS cost_then
        FROM (
            SELECT d.*, b.credits AS cost_before,
                coalesce(b.quantity, 0) + sum(CASE WHEN d.by_plan THEN 0 ELSE d.rest END) OVER (
                    PARTITION BY d.account, d.product, d.period_start ORDER BY d.place) - d.rest
                    AS units_before
            FROM divided AS d
            LEFT JOIN seen AS b
                ON d.is_tiered AND b.account = d.account AND b.period_start = d.period_start
                AND b.product = d.product AND b.meter = d.meter) AS p
    ), costed AS (
        SELECT d.*, CASE
            WHEN d.rest = 0 THEN 0
            WHEN d.by_plan THEN CASE d.lim ->> 'then'
                WHEN 'overage' THEN round(d.rest * (d.lim ->> 'price')::numeric, 12) ELSE 0 END
            WHEN d.product IS NULL OR d.refusal IS NOT NULL THEN 0
            WHEN NOT d.is_tiered
                THEN round(d.rest * d.unit_price, CASE WHEN d.paid_in = 'CREDIT' THEN 6 ELSE 12 END)
            ELSE usage_charge(d.pricing, d.unit_price, d.package_size, d.free_units, d.tiers,
                d.units_before, d.rest, coalesce(greatest(d.cost_before, max(d.cost_then) OVER (
                    PARTITION BY d.account, d.product, d.period_start ORDER BY d.place
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)), 0))
        END AS total
        FROM reached AS d
    ), decided AS (
        SELECT c.*, coalesce(c.refusal, CASE
            WHEN c.rest = 0 OR c.late THEN NULL
            WHEN c.by_plan AND c.lim ->> 'then' = 'block' THEN 'QUOTA_EXCEEDED'
            WHEN NOT c.by_plan AND c.method = 'subscription_included' AND c.total > 0
                THEN 'NOT_INCLUDED'
        END) AS failure
        FROM costed AS c
    )
    SELECT
        array_agg(ROW(
            id, account_id, event, hash, client, organization, session, request, product, service,
            feature, operation, model, coalesce(meter, ''), amount, included, rest,
            CASE
                WHEN by_plan AND rest > 0 THEN (lim ->> 'price')::numeric
                WHEN is_tiered AND rest > 0 THEN round(total / rest, 12)
                ELSE coalesce(unit_price, 0) END,
            total,
            CASE WHEN total = 0 THEN 'CREDIT' WHEN by_plan THEN money ELSE paid_in END,
            CASE WHEN by_plan OR total = 0 THEN 'subscription_included'
                ELSE coalesce(method, 'credit_consumption') END,
            CASE WHEN failure IS NOT NULL THEN 'failed' WHEN total = 0 THEN 'completed'
                WHEN by_plan OR method = 'payment_charge' THEN 'pending' ELSE 'processing' END,
            rest > 0 AND total = 0 AND NOT by_plan AND product IS NOT NULL,
            late, failure, NULL, detail, period_start,
            date_trunc('day', used_at AT TIME ZONE zone) AT TIME ZONE zone,
            used_at, as_of, as_of, 'usage'
        )::billing_records ORDER BY place),
        array_agg(place ORDER BY place),
        coalesce(bool_or(lim IS NOT NULL), false),
        array_agg(DISTINCT product) FILTER (WHERE is_tiered)
    FROM decided
$$;
