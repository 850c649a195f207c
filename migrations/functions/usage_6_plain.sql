-- The short way for batches in which nothing depends on what was used before: every meter is a sum
-- without a limit in any plan, every price per unit without free units, every event in its
-- account's open period, and everybody can pay. Answers what the long way would answer, at a third
-- of its cost; a test holds the two together.

-- Prices and meters of the kinds, or `plain` false where something else must be looked at.
CREATE OR REPLACE FUNCTION usage_plain_kinds(
    p_limits jsonb[], p_as_of timestamptz[], p_products text[], p_services text[],
    p_features text[], p_operations text[], p_models text[], p_methods text[],
    OUT plain boolean, OUT prices numeric[], OUT meters text[], OUT services text[],
    OUT methods text[])
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT
        bool_and(coalesce(
            k.counts = 'sum' AND coalesce(k.method, '') <> 'payment_charge'
            AND CASE WHEN k.product IS NULL
                THEN coalesce(k.method, 'subscription_included') = 'subscription_included'
                ELSE t.simple AND (coalesce(k.method, '') <> 'subscription_included'
                    OR t.unit_price = 0) END, false))
        AND NOT EXISTS (
            SELECT 1 FROM unnest(p_limits) AS l(lim)
            WHERE l.lim <> '{}' AND l.lim ?| array_agg(k.meter)),
        array_agg(coalesce(t.unit_price, 0) ORDER BY k.kind), array_agg(k.meter ORDER BY k.kind),
        array_agg(k.service ORDER BY k.kind),
        array_agg(CASE WHEN coalesce(t.unit_price, 0) = 0 THEN 'subscription_included'
            ELSE coalesce(k.method, 'credit_consumption') END ORDER BY k.kind)
    FROM usage_kinds(
        p_products, p_services, p_features, p_operations, p_models, p_methods) AS k
    LEFT JOIN LATERAL (
        -- One version that held long enough for any event of an open period.
        SELECT max(unit_price) AS unit_price, count(*) = 1 AND bool_and(
            model = 'per_unit' AND free_units = 0 AND effective_to IS NULL
            AND effective_from < p_as_of[1] - interval '400 days') AS simple
        FROM product_prices WHERE product = k.product AND currency = 'CREDIT'
        HAVING count(*) > 0) AS t ON true
$$;

-- Records and counters of a plain batch, in one statement. `t_` name the ledger entry of an
-- account, group and method.
CREATE OR REPLACE FUNCTION usage_plain_write(
    p_accounts uuid[], p_as_of timestamptz[], p_starts timestamptz[], p_zones text[],
    p_products text[], p_services text[], p_features text[], p_operations text[],
    p_models text[], p_methods text[], p_prices numeric[], p_meters text[], p_hourly text[],
    r_account integer[], r_kind integer[], r_group integer[], r_id uuid[], r_hash bigint[],
    r_event text[], r_amount numeric[], r_at timestamptz[], r_user text[],
    r_organization text[], r_session text[], r_request text[], r_detail jsonb[],
    t_account integer[], t_group integer[], t_method text[], t_id uuid[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH days AS MATERIALIZED (
        -- Most accounts share their zone and time: arithmetic of zones is dear.
        SELECT zone, as_of, date_trunc('day', as_of AT TIME ZONE zone) AT TIME ZONE zone AS day_at
        FROM (SELECT DISTINCT zone, as_of FROM unnest(p_zones, p_as_of) AS z(zone, as_of)) AS z
    ), accounts_ AS MATERIALIZED (
        SELECT a.*, d.day_at
        FROM unnest(p_accounts, p_as_of, p_starts, p_zones) WITH ORDINALITY
            AS a(account_id, as_of, start_at, zone, account)
        JOIN days AS d ON d.zone = a.zone AND d.as_of = a.as_of
    ), kinds AS MATERIALIZED (
        SELECT k.*, concat_ws('|', coalesce(k.service, ''), k.method, 'completed', 'CREDIT')
            AS facet
        FROM unnest(p_products, p_services, p_features, p_operations, p_models, p_methods,
            p_prices, p_meters) WITH ORDINALITY
            AS k(product, service, feature, operation, model, method, price, meter, kind)
    ), paid AS MATERIALIZED (
        SELECT * FROM unnest(t_account, t_group, t_method, t_id)
            AS t(account, share, method, transaction_id)
    ), sent AS MATERIALIZED (
        SELECT r.*, a.account_id, a.as_of, a.start_at, a.zone, coalesce(r.at, a.as_of) AS used_at,
            CASE WHEN r.at IS NULL THEN a.day_at
                ELSE date_trunc('day', r.at AT TIME ZONE a.zone) AT TIME ZONE a.zone END AS day_at
        FROM unnest(
            r_account, r_kind, r_group, r_id, r_hash, r_event, r_amount, r_at, r_user,
            r_organization, r_session, r_request, r_detail
        ) AS r(account, kind, share, id, hash, event, amount, at, client, organization, session,
            request, detail)
        JOIN accounts_ AS a ON a.account = r.account
    ), taken AS (
        INSERT INTO billing_records
        SELECT
            s.id, s.account_id, s.event, s.hash, s.client, s.organization, s.session, s.request,
            k.product, k.service, k.feature, k.operation, k.model, k.meter, s.amount, 0, s.amount,
            k.price, round(s.amount * k.price, 6), 'CREDIT', k.method, 'completed',
            k.price = 0 AND k.product IS NOT NULL, false, NULL, p.transaction_id, s.detail,
            s.start_at, s.day_at, s.used_at, s.as_of, s.as_of, 'usage'
        FROM sent AS s
        JOIN kinds AS k ON k.kind = s.kind
        LEFT JOIN paid AS p ON p.account = s.account AND p.share = s.share AND p.method = k.method
    )
    INSERT INTO usage_counters AS c
    SELECT
        a.account_id, g.owner, g.grain, g.bucket, k.meter,
        CASE WHEN g.grain = 'day' AND g.owner = '' THEN k.facet ELSE '' END,
        sum(g.amount), sum(g.events), max(g.maximum), max(g.maximum), max(g.last_at),
        sum(g.credits), 0, 0
    FROM (
        SELECT account, kind, 'cycle' AS grain, '' AS owner, min(start_at) AS bucket,
            sum(amount) AS amount, count(*) AS events, max(amount) AS maximum,
            max(used_at) AS last_at, sum(round(amount * p_prices[kind], 6)) AS credits
        FROM sent GROUP BY account, kind
        UNION ALL
        SELECT account, kind, 'day', '', day_at,
            sum(amount), count(*), max(amount), max(used_at), sum(round(amount * p_prices[kind], 6))
        FROM sent GROUP BY account, kind, day_at
        UNION ALL
        SELECT s.account, s.kind, o.grain, o.owner, o.bucket,
            s.amount, 1, s.amount, s.used_at, round(s.amount * p_prices[s.kind], 6)
        FROM sent AS s CROSS JOIN LATERAL (
            SELECT 'cycle', 'u:' || s.client, s.start_at WHERE s.client IS NOT NULL
            UNION ALL SELECT 'day', 'u:' || s.client, s.day_at WHERE s.client IS NOT NULL
            UNION ALL SELECT 'cycle', 'o:' || s.organization, s.start_at
            WHERE s.organization IS NOT NULL
            UNION ALL SELECT 'day', 'o:' || s.organization, s.day_at
            WHERE s.organization IS NOT NULL
            UNION ALL SELECT 'cycle', 'a:' || p_operations[s.kind], s.start_at
            WHERE p_operations[s.kind] IS NOT NULL
            UNION ALL SELECT 'day', 'a:' || p_operations[s.kind], s.day_at
            WHERE p_operations[s.kind] IS NOT NULL
            UNION ALL SELECT 'cycle', 'm:' || p_models[s.kind], s.start_at
            WHERE p_models[s.kind] IS NOT NULL
            UNION ALL SELECT 'day', 'm:' || p_models[s.kind], s.day_at
            WHERE p_models[s.kind] IS NOT NULL
            UNION ALL SELECT 'hour', '', date_trunc('hour', s.used_at)
            WHERE p_meters[s.kind] = ANY (p_hourly)
        ) AS o(grain, owner, bucket)
        WHERE r_user IS NOT NULL OR r_organization IS NOT NULL OR cardinality(p_hourly) > 0
            OR num_nonnulls(VARIADIC p_operations || p_models) > 0
    ) AS g
    JOIN accounts_ AS a ON a.account = g.account
    JOIN kinds AS k ON k.kind = g.kind
    GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (account_id, owner, grain, bucket, meter, facet) DO UPDATE SET
        quantity = c.quantity + excluded.quantity,
        events = c.events + excluded.events,
        maximum = greatest(c.maximum, excluded.maximum),
        last_value = greatest(c.last_value, excluded.last_value),
        last_at = greatest(c.last_at, excluded.last_at),
        credits = c.credits + excluded.credits
$$;

-- What plain rows cost together, per account, group and method, where that is anything.
CREATE OR REPLACE FUNCTION usage_plain_dues(
    p_accounts uuid[], p_methods text[], p_prices numeric[], r_account integer[],
    r_kind integer[], r_group integer[], r_id uuid[], r_amount numeric[], p_products text[],
    OUT owners uuid[], OUT amounts numeric[], OUT keys text[], OUT reasons text[],
    OUT bought_only boolean[], OUT accounts integer[], OUT shares integer[], OUT ways text[])
LANGUAGE sql AS $$
    SELECT array_agg(p_accounts[account]), array_agg(amount), array_agg(key), array_agg(reason),
        array_agg(method = 'wallet_deduction'), array_agg(account), array_agg(share),
        array_agg(method)
    FROM (
        SELECT
            r.account, r.share, p_methods[r.kind] AS method,
            sum(round(r.amount * p_prices[r.kind], 6)) AS amount,
            'usage/' || (array_agg(r.id))[1] AS key,
            CASE WHEN count(*) = 1 THEN 'usage: ' || min(p_products[r.kind])
                ELSE 'usage: ' || count(*) || ' records' END AS reason
        FROM unnest(r_account, r_kind, r_group, r_id, r_amount)
            AS r(account, kind, share, id, amount)
        WHERE p_prices[r.kind] > 0
        GROUP BY r.account, r.share, p_methods[r.kind]) AS d
    WHERE amount > 0
$$;

-- Whether each account certainly has what it is to pay.
CREATE OR REPLACE FUNCTION usage_plain_solvent(
    p_accounts uuid[], p_as_of timestamptz[], d_account integer[], d_amount numeric[],
    d_bought_only boolean[])
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_and(l.there >= d.amount), true)
    FROM (
        SELECT account, sum(amount) AS amount, bool_or(bought_only) AS bought_only
        FROM unnest(d_account, d_amount, d_bought_only) AS u(account, amount, bought_only)
        GROUP BY account) AS d
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(remaining - held), 0) AS there FROM credit_lots
        WHERE account_id = p_accounts[d.account] AND is_open AND scope IS NULL
            AND (is_paid OR NOT d.bought_only)
            AND coalesce(expires_at, 'infinity') > p_as_of[d.account] + interval '1 second'
    ) AS l
$$;
