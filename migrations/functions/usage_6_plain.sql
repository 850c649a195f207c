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

-- The day each account is in; what accounts share is computed once.
CREATE OR REPLACE FUNCTION usage_plain_days(p_zones text[], p_as_of timestamptz[])
RETURNS timestamptz[]
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(p_zones, p_as_of) WITH ORDINALITY AS z(zone, as_of, place)
    ), known AS MATERIALIZED (
        SELECT zone, as_of, date_trunc('day', as_of AT TIME ZONE zone) AT TIME ZONE zone AS day_at
        FROM asked GROUP BY zone, as_of
    )
    SELECT array_agg(k.day_at ORDER BY a.place)
    FROM asked AS a JOIN known AS k ON k.zone = a.zone AND k.as_of = a.as_of
$$;

-- Records of a plain batch. `t_` name the ledger entry of an account, group and method.
CREATE OR REPLACE FUNCTION usage_plain_write(
    p_accounts uuid[], p_as_of timestamptz[], p_starts timestamptz[], p_zones text[],
    p_days timestamptz[], p_products text[], p_services text[], p_features text[],
    p_operations text[], p_models text[], p_methods text[], p_prices numeric[], p_meters text[],
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
    WITH accounts_ AS MATERIALIZED (
        SELECT * FROM unnest(p_accounts, p_as_of, p_starts, p_zones, p_days) WITH ORDINALITY
            AS a(account_id, as_of, start_at, zone, day_at, account)
    ), kinds AS MATERIALIZED (
        SELECT * FROM unnest(p_products, p_services, p_features, p_operations, p_models,
            p_methods, p_prices, p_meters) WITH ORDINALITY
            AS k(product, service, feature, operation, model, method, price, meter, kind)
    ), paid AS MATERIALIZED (
        SELECT * FROM unnest(t_account, t_group, t_method, t_id)
            AS t(account, share, method, transaction_id)
    )
    INSERT INTO billing_records
    SELECT
        r.id, a.account_id, r.event, r.hash, r.client, r.organization, r.session, r.request,
        k.product, k.service, k.feature, k.operation, k.model, k.meter, r.amount, 0, r.amount,
        k.price, CASE WHEN k.price = 0 THEN 0 ELSE round(r.amount * k.price, 6) END, 'CREDIT',
        k.method, 'completed', k.price = 0 AND k.product IS NOT NULL, false, NULL,
        p.transaction_id, r.detail, a.start_at,
        CASE WHEN r.at IS NULL THEN a.day_at
            ELSE date_trunc('day', r.at AT TIME ZONE a.zone) AT TIME ZONE a.zone END,
        coalesce(r.at, a.as_of), a.as_of, a.as_of, 'usage'
    FROM unnest(
        r_account, r_kind, r_group, r_id, r_hash, r_event, r_amount, r_at, r_user,
        r_organization, r_session, r_request, r_detail
    ) AS r(account, kind, share, id, hash, event, amount, at, client, organization, session,
        request, detail)
    JOIN accounts_ AS a ON a.account = r.account
    JOIN kinds AS k ON k.kind = r.kind
    LEFT JOIN paid AS p ON p.account = r.account AND p.share = r.share AND p.method = k.method
$$;

-- Sums of a plain batch for its accounts' own counters. Kinds that share a counter go by the first of
-- them: numbers are grouped, not texts.
CREATE OR REPLACE FUNCTION usage_plain_own(
    p_accounts uuid[], p_as_of timestamptz[], p_starts timestamptz[], p_zones text[],
    p_days timestamptz[], p_prices numeric[], p_meters text[], p_facets text[], p_first integer[],
    r_account integer[], r_kind integer[], r_amount numeric[], r_at timestamptz[])
RETURNS TABLE (
    account_id uuid, owner text, grain text, period_start timestamptz, bucket timestamptz,
    meter text, facet text, quantity numeric, events bigint, maximum numeric,
    last_value numeric, last_at timestamptz, credits numeric)
LANGUAGE sql STABLE AS $$
    SELECT p_accounts[account], '', 'day', p_starts[account], day_at, p_meters[kind],
        p_facets[kind], quantity, events, maximum, last_value, last_at, credits
    FROM (
        SELECT r.account, p_first[r.kind] AS kind, CASE WHEN r.at IS NULL
                THEN p_days[r.account] ELSE date_trunc('day', r.at AT TIME ZONE p_zones[r.account])
                    AT TIME ZONE p_zones[r.account] END AS day_at,
            sum(r.amount) AS quantity, count(*) AS events, max(r.amount) AS maximum,
            (array_agg(r.amount ORDER BY r.at DESC, r.place DESC))[1] AS last_value,
            max(coalesce(r.at, p_as_of[r.account])) AS last_at,
            sum(CASE WHEN p_prices[r.kind] = 0 THEN 0
                ELSE round(r.amount * p_prices[r.kind], 6) END) AS credits
        FROM unnest(r_account, r_kind, r_amount, r_at) WITH ORDINALITY
            AS r(account, kind, amount, at, place)
        GROUP BY 1, 2, 3) AS s
$$;

-- Sums of a plain batch by user, organisation, operation and model, and by the hour.
CREATE OR REPLACE FUNCTION usage_plain_words(
    p_accounts uuid[], p_as_of timestamptz[], p_starts timestamptz[], p_zones text[],
    p_days timestamptz[], p_operations text[], p_models text[], p_prices numeric[],
    p_meters text[], p_hourly text[], r_account integer[], r_kind integer[],
    r_amount numeric[], r_at timestamptz[], r_user text[], r_organization text[])
RETURNS TABLE (
    account_id uuid, owner text, grain text, period_start timestamptz, bucket timestamptz,
    meter text, facet text, quantity numeric, events bigint, maximum numeric,
    last_value numeric, last_at timestamptz, credits numeric)
LANGUAGE sql STABLE AS $$
    SELECT p_accounts[s.account], o.owner, o.grain, p_starts[s.account], o.bucket,
        p_meters[s.kind], '', sum(s.amount), count(*), max(s.amount),
        (array_agg(s.amount ORDER BY s.used_at DESC, s.place DESC))[1], max(s.used_at),
        sum(s.credits)
    FROM (
        SELECT
            r.place, r.account, r.kind, r.amount, r.client, r.organization,
            coalesce(r.at, p_as_of[r.account]) AS used_at,
            CASE WHEN p_prices[r.kind] = 0 THEN 0
                ELSE round(r.amount * p_prices[r.kind], 6) END AS credits,
            CASE WHEN r.at IS NULL THEN p_days[r.account]
                ELSE date_trunc('day', r.at AT TIME ZONE p_zones[r.account])
                    AT TIME ZONE p_zones[r.account] END AS day_at
        FROM unnest(r_account, r_kind, r_amount, r_at, r_user, r_organization) WITH ORDINALITY
            AS r(account, kind, amount, at, client, organization, place)
        OFFSET 0) AS s
    CROSS JOIN LATERAL (
        SELECT 'day', w.owner, s.day_at
        FROM (VALUES ('u:' || s.client), ('o:' || s.organization),
            ('a:' || p_operations[s.kind]), ('m:' || p_models[s.kind])) AS w(owner)
        WHERE w.owner IS NOT NULL
        UNION ALL
        SELECT 'hour', '', date_trunc('hour', s.used_at)
        WHERE p_meters[s.kind] = ANY (p_hourly)
    ) AS o(grain, owner, bucket)
    GROUP BY 1, 2, 3, 4, 5, 6
$$;

-- The counters of a plain batch. Every row's account is locked, so one that is there is changed
-- where it lies, which costs half of an upsert; the others, of a new day or cycle, are added.
CREATE OR REPLACE FUNCTION usage_plain_count(
    p_accounts uuid[], p_as_of timestamptz[], p_starts timestamptz[], p_zones text[],
    p_days timestamptz[], p_services text[], p_operations text[], p_models text[],
    p_methods text[], p_prices numeric[], p_meters text[], r_account integer[], r_kind integer[],
    r_amount numeric[], r_at timestamptz[], r_user text[], r_organization text[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    hourly text[] := ARRAY(SELECT key FROM meters WHERE meters.hourly);
    worded boolean := r_user IS NOT NULL OR r_organization IS NOT NULL OR cardinality(hourly) > 0
        OR num_nonnulls(VARIADIC p_operations || p_models) > 0;
    facets text[];
    first integer[] := '{1}';
BEGIN
    IF cardinality(p_meters) = 1 THEN
        facets := ARRAY[concat_ws('|', coalesce(p_services[1], ''), p_methods[1], 'completed',
            'CREDIT')];
    ELSE
        SELECT array_agg(k.facet ORDER BY k.kind), array_agg(k.first::integer ORDER BY k.kind)
        INTO facets, first
        FROM (
            SELECT f.kind, f.facet, min(f.kind) OVER (PARTITION BY f.meter, f.facet) AS first
            FROM (
                SELECT kind, meter, concat_ws('|', coalesce(service, ''), method, 'completed',
                    'CREDIT') AS facet
                FROM unnest(p_services, p_methods, p_meters) WITH ORDINALITY
                    AS k(service, method, meter, kind)) AS f) AS k;
    END IF;
    WITH sums AS MATERIALIZED (
        -- In the order of the index: neighbours are met one after the other.
        SELECT row_number() OVER (ORDER BY account_id) AS place, g.*
        FROM (
            SELECT * FROM usage_plain_own(
                p_accounts, p_as_of, p_starts, p_zones, p_days, p_prices, p_meters, facets, first,
                r_account, r_kind, r_amount, r_at)
            UNION ALL
            SELECT * FROM usage_plain_words(
                p_accounts, p_as_of, p_starts, p_zones, p_days, p_operations, p_models, p_prices,
                p_meters, hourly, r_account, r_kind, r_amount, r_at, r_user, r_organization)
            WHERE worded) AS g
    ), moved AS (
        -- By columns alone, without constants: else a plan that was made while the table was
        -- empty reads all of it, and looks through the sums for each row.
        UPDATE usage_counters AS c SET
            quantity = c.quantity + g.quantity,
            events = c.events + g.events,
            maximum = greatest(c.maximum, g.maximum),
            last_value = CASE WHEN g.last_at >= c.last_at THEN g.last_value
                ELSE c.last_value END,
            last_at = greatest(c.last_at, g.last_at),
            credits = c.credits + g.credits
        FROM sums AS g
        WHERE c.account_id = g.account_id AND c.owner = g.owner AND c.grain = g.grain
            AND c.period_start = g.period_start AND c.bucket = g.bucket AND c.meter = g.meter
            AND c.facet = g.facet
        RETURNING g.place
    )
    INSERT INTO usage_counters
    SELECT account_id, owner, grain, period_start, bucket, meter, facet, quantity, events, maximum,
        last_value, last_at, credits, 0, 0
    FROM sums
    WHERE place NOT IN (SELECT place FROM moved);
END;
$$;

-- What plain rows cost together, per account, group and method, where that is anything; in the
-- order of the rows.
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
        FROM unnest(r_account, r_kind, r_group, r_id, r_amount) WITH ORDINALITY
            AS r(account, kind, share, id, amount, place)
        WHERE p_prices[r.kind] > 0
        GROUP BY r.account, r.share, p_methods[r.kind]
        ORDER BY min(r.place)) AS d
    WHERE amount > 0
$$;

-- Whether each account certainly has what it is to pay, and no credits that are for some meter alone
-- and go first; whether nobody wants credits bought; and
-- (by position) whose lots or holds may have run out, which is to be settled first.
CREATE OR REPLACE FUNCTION usage_plain_solvent(
    p_accounts uuid[], p_as_of timestamptz[], d_account integer[], d_amount numeric[],
    d_bought_only boolean[], OUT solvent boolean, OUT sure boolean,
    OUT ended integer[])
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_and(l.there >= d.amount AND NOT l.scoped), true),
        coalesce(bool_and(b.top_up_below IS NULL), true)
            AND d_bought_only[1] = ALL (d_bought_only),
        array_agg(d.account) FILTER (WHERE b.next_expiry <= p_as_of[d.account])
    FROM (
        SELECT account, sum(amount) AS amount, bool_or(bought_only) AS bought_only
        FROM unnest(d_account, d_amount, d_bought_only) AS u(account, amount, bought_only)
        GROUP BY account) AS d
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(remaining - held) FILTER (WHERE (is_paid OR NOT d.bought_only)
                AND coalesce(expires_at, 'infinity') > p_as_of[d.account] + interval '1 second'),
                0) AS there,
            coalesce(bool_or(scope IS NOT NULL), false) AS scoped
        FROM credit_lots
        WHERE account_id = p_accounts[d.account] AND is_open
    ) AS l
    CROSS JOIN LATERAL (
        SELECT top_up_below, next_expiry FROM credit_balances
        WHERE account_id = p_accounts[d.account] LIMIT 1) AS b
$$;
