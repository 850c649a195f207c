SET LOCAL check_function_bodies = off;

CREATE OR REPLACE FUNCTION plan_by_default() RETURNS uuid
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.id FROM default_plan AS d JOIN plans AS p ON p.key = d.plan_key AND p.is_current
    WHERE d.is_only
$$;

CREATE OR REPLACE FUNCTION money_exponent(p_currency text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_currency IN ('CLF', 'UYW') THEN 4
        WHEN p_currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
        WHEN p_currency IN (
            'BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI',
            'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
        ELSE 2
    END
$$;

CREATE OR REPLACE FUNCTION quota_allow_fast(
    p_account_id uuid, p_claim quota_claim_input, p_period_id uuid)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    UPDATE billing_quotas AS q
    SET plain_until = fast.until, plain_below = least(
        999999999999999, CASE WHEN q.is_hard THEN q.limit_amount END,
        (SELECT min(q.limit_amount * 0.01 * percent) FROM unnest(q.alert_percents) AS u(percent)
         WHERE q.used * 100 < q.limit_amount * percent))
    FROM billing_quotas AS known CROSS JOIN LATERAL (
        SELECT CASE WHEN known.span_seconds IS NULL AND NOT a.is_test
            AND p.no_entitlement IS NULL
            AND p.limits -> p_claim.meter ->> 'then' IS DISTINCT FROM 'block'
            AND NOT EXISTS (
                SELECT 1 FROM billing_quotas AS other
                WHERE other.account_id = p_account_id AND other.meter = p_claim.meter
                    AND other.id <> known.id AND (other.owner = known.owner
                        OR left(other.owner, 1) <> left(known.owner, 1)))
            THEN least(p.end_at, expires.at, CASE known.window_kind WHEN 'cycle' THEN p.end_at
                ELSE (known.window_start AT TIME ZONE p.zone
                    + ('1 ' || known.window_kind)::interval) AT TIME ZONE p.zone END) END
        FROM usage_periods AS p
        JOIN accounts AS a ON a.id = p.account_id
        CROSS JOIN (
            SELECT min(expires_at) FROM quota_claims
            WHERE account_id = p_account_id AND status = 'open') AS expires(at)
        WHERE p.id = p_period_id) AS fast(until)
    WHERE known.account_id = p_account_id AND known.meter = p_claim.meter AND q.id = known.id
        AND known.owner IN ('', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id)
$$;

CREATE OR REPLACE FUNCTION usage_carry_over(
    p_account_id uuid, p_limits jsonb, p_since timestamptz, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    WITH used AS MATERIALIZED (
        SELECT c.meter, sum(c.quantity) AS quantity
        FROM usage_periods AS p CROSS JOIN LATERAL (
            SELECT meter, quantity FROM usage_counters
            WHERE account_id = p_account_id AND owner = '' AND grain = 'day'
                AND period_start = p.start_at AND bucket >= p_since) AS c
        JOIN meters AS m ON m.key = c.meter AND m.kind IN ('sum', 'count')
        WHERE p.account_id = p_account_id AND p.start_at < p_start AND p.end_at > p_since
        GROUP BY c.meter
    )
    SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN u.quantity IS NULL THEN l.lim
        ELSE l.lim || jsonb_build_object(
            'included', trim_scale(n.included - least(n.included, u.quantity))::text,
            'carried', trim_scale(least(n.included, u.quantity))::text) END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    CROSS JOIN LATERAL (SELECT (l.lim ->> 'included')::numeric) AS n(included)
    LEFT JOIN used AS u ON u.meter = l.meter
$$;

CREATE OR REPLACE FUNCTION usage_default_terms(
    p_account_id uuid, p_at timestamptz,
    OUT plan_id uuid, OUT limits jsonb, OUT no_entitlement text)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.id,
        CASE WHEN p.id IS NULL THEN '{}' ELSE usage_limits_of(
            usage_agreed_limits(p_account_id, p.limits, p_at), 'active', 'full', NULL) END,
        CASE WHEN p.id IS NULL THEN 'no_subscription' END
    FROM (SELECT plan_by_default() AS id) AS d LEFT JOIN plans AS p ON p.id = d.id
$$;

CREATE OR REPLACE FUNCTION usage_due_period(
    p_account_id uuid, p_at timestamptz,
    OUT subscription_id uuid, OUT plan_id uuid, OUT start_at timestamptz, OUT end_at timestamptz,
    OUT zone text, OUT currency text, OUT limits jsonb, OUT no_entitlement text)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    known record;
    given record := usage_plan_period(p_account_id, p_at);
BEGIN
    SELECT p.start_at, p.end_at, p.subscription_id INTO known
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    subscription_id := given.subscription_id;
    plan_id := given.plan_id;
    start_at := given.start_at;
    end_at := given.end_at;
    zone := given.zone;
    currency := given.currency;
    no_entitlement := given.no_entitlement;
    IF known.end_at > p_at AND known.subscription_id IS NOT DISTINCT FROM subscription_id THEN
        IF given.is_month THEN
            start_at := known.start_at;
            end_at := known.end_at;
        ELSIF known.start_at > start_at AND known.start_at < end_at THEN
            start_at := known.start_at;
        END IF;
    ELSIF known.end_at > p_at AND given.is_month THEN
        -- What ends keeps its row, even at the instant it began.
        start_at := greatest(p_at, known.start_at + interval '1 microsecond');
    ELSIF given.is_month THEN
        start_at := greatest(start_at, known.end_at);
    END IF;
    limits := CASE WHEN given.carried_since IS NULL THEN given.limits
        ELSE usage_carry_over(p_account_id, given.limits, given.carried_since, start_at) END;
END;
$$;

CREATE OR REPLACE FUNCTION usage_ensure_past_period(p_account_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE sql AS $$
    INSERT INTO usage_periods (
        id, account_id, start_at, end_at, zone, plan_id, limits, no_entitlement, closed_at)
    SELECT uuidv7(), p_account_id, m.start_at,
        least(m.end_at,
            (SELECT min(start_at) FROM usage_periods WHERE account_id = p_account_id)),
        a.zone, d.plan_id, d.limits, d.no_entitlement, p_at
    FROM accounts AS a CROSS JOIN LATERAL usage_month(a.zone, p_at) AS m
    CROSS JOIN LATERAL usage_default_terms(a.id, p_at) AS d
    WHERE a.id = p_account_id AND NOT EXISTS (
        SELECT 1 FROM usage_periods WHERE account_id = p_account_id AND start_at <= p_at)
    ON CONFLICT DO NOTHING
$$;

CREATE OR REPLACE FUNCTION usage_fast_kinds(p_accounts usage_account[], p_kinds usage_kind[])
RETURNS usage_fast_kind[]
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN bool_and(f.is_fast) AND NOT EXISTS (
        SELECT FROM unnest(p_accounts) AS a
        WHERE a.limits <> '{}' AND a.limits ?| (
            array_agg(f.meter) || array_agg('*'::text) FILTER (WHERE f.by_plan_alone)))
        THEN array_agg(ROW(
            f.kind, f.product_id, f.service_type, f.feature_type, f.operation, f.model, f.method,
            f.meter, f.unit_price, f.is_hourly, f.facet, f.counter)::usage_fast_kind
            ORDER BY f.kind) END
    FROM (
        SELECT p.kind, p.product_id, p.service_type, p.feature_type, p.operation, p.model,
            p.method, p.meter, p.unit_price, p.is_hourly, p.is_fast, p.by_plan_alone, c.facet,
            min(p.kind) OVER (PARTITION BY p.meter, c.facet) AS counter
        FROM (
            SELECT k.kind, k.product_id, k.service_type, k.feature_type, k.operation, k.model,
                k.meter, k.is_hourly, coalesce(t.unit_price, 0) AS unit_price,
                CASE WHEN coalesce(t.unit_price, 0) = 0 THEN 'subscription_included'
                    ELSE coalesce(k.method, 'credit_consumption') END AS method,
                k.product_id IS NULL OR k.method IS NOT DISTINCT FROM 'subscription_included'
                    AS by_plan_alone,
                coalesce(
                    k.counts = 'sum' AND coalesce(k.method, '') <> 'payment_charge'
                    AND CASE WHEN k.product_id IS NULL
                        THEN coalesce(k.method, 'subscription_included') = 'subscription_included'
                        ELSE t.is_simple AND (coalesce(k.method, '') <> 'subscription_included'
                            OR t.unit_price = 0) END, false) AS is_fast
            FROM usage_metered_kinds(p_kinds) AS k
            LEFT JOIN LATERAL (
                SELECT max(unit_price) AS unit_price, count(*) = 1 AND bool_and(
                    model = 'per_unit' AND free_units = 0 AND effective_to IS NULL
                    AND effective_from < p_accounts[1].as_of - interval '400 days') AS is_simple
                FROM product_prices WHERE product = k.product_id AND currency = 'CREDIT'
                HAVING count(*) > 0) AS t ON true) AS p
        CROSS JOIN LATERAL usage_facet(
            p.service_type, p.method, 'completed', 'CREDIT') AS c(facet)) AS f
$$;

CREATE OR REPLACE FUNCTION usage_is_outdated(
    p_subscription_id uuid, p_plan_id uuid, p_no_entitlement text, p_default_plan uuid)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT num_nonnulls(p_plan_id, p_no_entitlement) = 0
        OR (p_subscription_id IS NULL AND p_no_entitlement IS DISTINCT FROM 'incomplete'
            AND p_plan_id IS DISTINCT FROM p_default_plan)
$$;

CREATE OR REPLACE FUNCTION usage_limit_of(p_limits jsonb, p_kind usage_metered) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_limits -> p_kind.meter,
        CASE WHEN p_kind.product_id IS NULL OR p_kind.method = 'subscription_included'
            THEN p_limits -> '*' END)
$$;

CREATE OR REPLACE FUNCTION usage_limits_in_force(p_limits jsonb, p_no_entitlement text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_no_entitlement IS NULL THEN p_limits
        ELSE '{"*": {"included": "0", "then": "none", "price": "0"}}' END
$$;

CREATE OR REPLACE FUNCTION usage_limits_of(
    p_limits jsonb, p_status text, p_past_due_access text, p_currency text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(one ->> 'meter', jsonb_strip_nulls(jsonb_build_object(
        'included', one ->> 'included',
        'then', CASE
            WHEN one ->> 'then' <> 'overage' THEN one ->> 'then'
            WHEN p_status = 'past_due' AND p_past_due_access <> 'full' THEN 'block'
            WHEN one -> 'prices' -> p_currency IS NULL THEN 'block'
            ELSE 'overage' END,
        'price', coalesce(one -> 'prices' ->> p_currency, '0'),
        'capped', CASE WHEN p_status = 'past_due' THEN 'true' END))), '{}')
    FROM jsonb_array_elements(p_limits) AS limits(one)
    WHERE p_status IN ('trialing', 'active')
        OR (p_status = 'past_due' AND p_past_due_access <> 'none')
$$;

CREATE OR REPLACE FUNCTION usage_may_defer(p_account_id uuid, p_amount numeric) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT u.unpaid + p_amount <= u.unpaid_limit FROM usage_unpaid(p_account_id) AS u
$$;

CREATE OR REPLACE FUNCTION usage_open_period(p_account_id uuid, p_at timestamptz) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    known record;
    wanted record;
    opened uuid;
BEGIN
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    SELECT p.id, p.start_at, p.end_at, p.zone, p.subscription_id, p.plan_id, p.currency, p.limits,
        p.no_entitlement
    INTO known
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    wanted := usage_due_period(p_account_id, p_at);
    IF wanted.start_at IS NULL
        OR (known.start_at, known.end_at, known.zone, known.subscription_id, known.plan_id,
            known.currency, known.limits, known.no_entitlement)
        IS NOT DISTINCT FROM
        (wanted.start_at, wanted.end_at, wanted.zone, wanted.subscription_id, wanted.plan_id,
            wanted.currency, wanted.limits, wanted.no_entitlement)
    THEN
        RETURN;
    END IF;

    INSERT INTO usage_periods AS p (
        id, account_id, start_at, end_at, zone, subscription_id, plan_id, currency, limits,
        no_entitlement)
    VALUES (uuidv7(), p_account_id, wanted.start_at, wanted.end_at, wanted.zone,
        wanted.subscription_id, wanted.plan_id, wanted.currency, wanted.limits,
        wanted.no_entitlement)
    ON CONFLICT (account_id, start_at) DO UPDATE
    SET end_at = excluded.end_at, zone = excluded.zone, closed_at = NULL,
        subscription_id = excluded.subscription_id, plan_id = excluded.plan_id,
        currency = excluded.currency, limits = excluded.limits,
        no_entitlement = excluded.no_entitlement
    RETURNING p.id INTO opened;
    UPDATE usage_periods SET end_at = least(end_at, wanted.start_at), closed_at = p_at
    WHERE id = known.id AND known.id <> opened AND start_at < wanted.start_at;
    UPDATE credit_balances SET period_id = opened
    WHERE account_id = p_account_id AND period_id IS DISTINCT FROM opened;
    IF (known.id, known.end_at, known.limits, known.no_entitlement) IS DISTINCT FROM
        (opened, wanted.end_at, wanted.limits, wanted.no_entitlement)
    THEN
        -- What the plan says is another thing now.
        UPDATE billing_quotas SET plain_until = NULL
        WHERE account_id = p_account_id AND plain_until IS NOT NULL;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_pay_records(
    INOUT p_records usage_rated[], p_contested integer[])
LANGUAGE plpgsql AS $$
DECLARE
    paid record;
    i integer;
BEGIN
    FOR paid IN SELECT d.members, d.transaction_id, d.available
        FROM usage_debit(p_records, p_contested) AS d
    LOOP
        FOREACH i IN ARRAY paid.members LOOP
            p_records[i].transaction_id := paid.transaction_id;
            IF paid.transaction_id IS NOT NULL THEN
                p_records[i].billing_status := 'completed';
            ELSIF ((p_records[i]).kind).defers AND usage_may_defer(
                (p_records[i]).account_id, (p_records[i]).total_amount)
            THEN
                p_records[i].billing_status := 'pending';
            ELSIF ((p_records[i]).kind).defers THEN
                p_records[i].failure := 'UNPAID_LIMIT';
            ELSE
                p_records[i].failure := 'INSUFFICIENT_CREDITS';
                p_records[i].available := paid.available;
            END IF;
        END LOOP;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_priced(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS TABLE (
    use usage_input, kind usage_metered, account_id uuid, as_of timestamptz, used_at timestamptz,
    is_late boolean, period_start timestamptz, zone text, lim jsonb, money text, paid_in text,
    price usage_price, refusal text)
LANGUAGE sql STABLE AS $$
    WITH kinds AS MATERIALIZED (
        SELECT k AS kind FROM usage_metered_kinds(p_kinds) AS k
    ), terms AS MATERIALIZED (
        SELECT (k.kind).kind, t.currency, t.price, t.effective_from, t.effective_to
        FROM kinds AS k CROSS JOIN LATERAL (
            SELECT currency, effective_from, effective_to,
                ROW(model, unit_price, package_size, free_units, tiers)::usage_price AS price
            FROM product_prices
            WHERE product = (k.kind).product_id
                AND (currency = 'CREDIT') = ((k.kind).method IS DISTINCT FROM 'payment_charge')
            LIMIT 10000) AS t
    ), sent AS (
        SELECT
            u AS use, k.kind, a AS account, coalesce(u.used_at, a.as_of) AS used_at,
            coalesce(u.used_at < a.start_at, false) AS is_late,
            -- A card pays in the account's currency, by a price of the product in it.
            CASE WHEN (k.kind).method = 'payment_charge' THEN (
                SELECT coalesce(currency, 'USD') FROM credit_balances
                WHERE account_id = a.account_id) ELSE 'CREDIT' END AS paid_in
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN kinds AS k ON (k.kind).kind = u.kind
    ), found AS (
        SELECT
            s.use, s.kind, (s.account).account_id, (s.account).as_of, s.used_at, s.is_late,
            coalesce(l.start_at, (s.account).start_at) AS period_start,
            coalesce(l.zone, (s.account).zone) AS zone,
            usage_limit_of(
                CASE WHEN s.is_late THEN usage_limits_in_force(l.limits, l.no_entitlement)
                    ELSE (s.account).limits END,
                s.kind) AS lim,
            CASE WHEN s.is_late THEN l.currency ELSE (s.account).currency END AS money,
            s.paid_in, coalesce(o.price, t.price) AS price
        FROM sent AS s
        LEFT JOIN LATERAL (
            SELECT start_at, zone, limits, currency, no_entitlement FROM usage_periods
            WHERE s.is_late AND account_id = (s.account).account_id AND start_at <= s.used_at
            ORDER BY start_at DESC LIMIT 1) AS l ON true
        LEFT JOIN terms AS t ON t.kind = (s.use).kind AND t.currency = s.paid_in
            AND s.used_at >= t.effective_from AND s.used_at < coalesce(t.effective_to, 'infinity')
        LEFT JOIN LATERAL (
            SELECT ROW(model, unit_price, package_size, free_units, tiers)::usage_price AS price
            FROM price_overrides
            WHERE (s.account).has_prices AND account_id = (s.account).account_id
                AND product = (s.kind).product_id AND currency = s.paid_in
                AND effective_from <= s.used_at AND s.used_at < coalesce(effective_to, 'infinity')
            ORDER BY effective_from DESC LIMIT 1) AS o ON true
    )
    SELECT f.use, f.kind, f.account_id, f.as_of, f.used_at, f.is_late, f.period_start, f.zone,
        f.lim, f.money, f.paid_in, f.price,
        usage_refusal(f.kind, f.price, f.used_at, f.as_of)
    FROM found AS f
$$;

CREATE OR REPLACE FUNCTION usage_rate_uses(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS usage_rated[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT array_agg(ROW(
        c.use, c.kind, c.account_id, coalesce((c.kind).meter, ''), c.included, c.rest,
        CASE
            WHEN c.by_plan AND c.rest > 0 THEN (c.lim ->> 'price')::numeric
            WHEN c.is_graded AND c.rest > 0 THEN round(c.total / c.rest, 12)
            ELSE coalesce((c.price).unit_price, 0) END,
        c.total,
        CASE WHEN c.total = 0 THEN 'CREDIT' WHEN c.by_plan THEN c.money ELSE c.paid_in END,
        CASE WHEN c.by_plan OR c.total = 0 THEN 'subscription_included'
            ELSE coalesce((c.kind).method, 'credit_consumption') END,
        CASE WHEN f.failure IS NOT NULL THEN 'failed' WHEN c.total = 0 THEN 'completed'
            WHEN c.by_plan OR (c.kind).method = 'payment_charge' THEN 'pending'
            ELSE 'processing' END,
        c.rest > 0 AND c.total = 0 AND NOT c.by_plan AND (c.kind).product_id IS NOT NULL,
        c.is_late, f.failure, NULL, c.period_start, date_trunc('day', c.used_at, c.zone), c.used_at,
        c.as_of, c.lim IS NOT NULL, c.is_graded, NULL
    )::usage_rated ORDER BY (c.use).place)
    FROM usage_costed(p_accounts, p_kinds, p_uses) AS c
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.lim ->> 'then' = 'none' AND (c.kind).meter IS NOT NULL
                AND coalesce(c.refusal, '') IN ('', 'PRODUCT_PRICING_NOT_FOUND')
            THEN 'NO_ENTITLEMENT' ELSE coalesce(c.refusal, CASE
            WHEN c.rest = 0 OR c.is_late THEN NULL
            WHEN c.by_plan AND c.lim ->> 'then' = 'block' THEN 'QUOTA_EXCEEDED'
            WHEN NOT c.by_plan AND (c.kind).method = 'subscription_included' AND c.total > 0
                THEN 'NOT_INCLUDED'
        END) END) AS f(failure)
$$;

CREATE OR REPLACE FUNCTION usage_read_accounts(
    p_accounts uuid[], p_periods uuid[], p_budgets text[], p_clocks timestamptz[],
    p_real_at timestamptz)
RETURNS usage_account[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT array_agg(ROW(
        a.place, a.id, t.as_of, p.start_at, date_trunc('day', t.as_of, p.zone), p.zone,
        usage_limits_in_force(p.limits, p.no_entitlement), p.currency, a.budget_mode,
        a.id = ANY (ARRAY(
            SELECT DISTINCT account_id FROM price_overrides WHERE account_id = ANY (p_accounts))),
        a.id = ANY (ARRAY(
            SELECT DISTINCT account_id FROM billing_quotas WHERE account_id = ANY (p_accounts))),
        p.end_at IS NULL OR p.end_at <= coalesce(a.clock_at, p_real_at)
            OR usage_is_outdated(
                p.subscription_id, p.plan_id, p.no_entitlement, (SELECT plan_by_default()))
    )::usage_account ORDER BY a.place)
    FROM unnest(p_accounts, p_periods, p_budgets, p_clocks) WITH ORDINALITY
        AS a(id, period_id, budget_mode, clock_at, place)
    LEFT JOIN usage_periods AS p ON p.id = a.period_id
    CROSS JOIN LATERAL (
        SELECT greatest(coalesce(a.clock_at, p_real_at), p.start_at)) AS t(as_of)
$$;

CREATE OR REPLACE FUNCTION usage_record_part(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[],
    OUT records usage_rated[], OUT contested integer[])
LANGUAGE plpgsql AS $$
DECLARE
    short integer[] := '{}';
BEGIN
    records := usage_rate_uses(p_accounts, p_kinds, p_uses);
    IF EXISTS (SELECT FROM unnest(p_accounts) WHERE has_quotas OR budget_mode = 'block') THEN
        records := usage_refuse_beyond_limits(p_accounts, records);
    END IF;
    IF EXISTS (SELECT FROM unnest(records) WHERE currency <> 'CREDIT') THEN
        records := usage_refuse_unpaid(p_accounts, records);
    END IF;
    IF EXISTS (SELECT FROM unnest(records) WHERE billing_status = 'processing') THEN
        short := usage_insufficient(records);
    END IF;
    contested := ARRAY(
        SELECT (r.use).account FROM unnest(records) AS r
        GROUP BY 1
        HAVING count(*) > 1 AND (
            bool_or(r.failure IN (
                'QUOTA_EXCEEDED', 'BUDGET_EXCEEDED', 'NOT_INCLUDED', 'UNPAID_LIMIT'))
            OR (r.use).account = ANY (short)));
    IF EXISTS (SELECT FROM unnest(records) WHERE billing_status = 'processing') THEN
        records := usage_pay_records(records, contested);
    END IF;
    PERFORM usage_write_accepted(
        ARRAY(SELECT r FROM unnest(records) AS r
            WHERE r.failure IS NULL AND (r.use).account <> ALL (contested)),
        p_accounts);
    PERFORM usage_notify_budgets(p_accounts, contested);
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_with_top_ups(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    answer usage_answer;
BEGIN
    RETURN QUERY SELECT a.* FROM usage_record(p_accounts, p_kinds, p_uses, p_all, p_new) AS a;
    IF coalesce(current_setting('app.top_ups', true), '') <> '' THEN
        answer.verdict := 'top_up';
        FOREACH answer.id IN ARRAY string_to_array(current_setting('app.top_ups'), ',')::uuid[]
        LOOP
            RETURN NEXT answer;
        END LOOP;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_refuse_unpaid(
    p_accounts usage_account[], INOUT p_records usage_rated[])
LANGUAGE plpgsql
SET enable_hashjoin = on
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    one record;
    known record;
    i integer;
BEGIN
    FOR one IN
        SELECT r.account_id, r.billing_method AS method, sum(r.total_amount) AS amount,
            array_agg(r.ordinality::integer) AS members
        FROM unnest(p_records) WITH ORDINALITY AS r
        JOIN unnest(p_accounts) AS a ON a.place = (r.use).account
        WHERE r.failure IS NULL AND r.currency <> 'CREDIT' AND NOT r.is_late
            AND (r.billing_method = 'payment_charge' OR a.limits -> r.meter ? 'capped')
        GROUP BY r.account_id, r.billing_method
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        known := usage_unpaid(one.account_id);
        IF known.unpaid >= known.unpaid_limit OR (one.method = 'subscription_included'
            AND known.unpaid + one.amount > known.unpaid_limit)
        THEN
            FOREACH i IN ARRAY one.members LOOP
                p_records[i].failure := 'UNPAID_LIMIT';
            END LOOP;
        END IF;
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_plan_period(
    p_account_id uuid, p_at timestamptz,
    OUT subscription_id uuid, OUT plan_id uuid, OUT start_at timestamptz, OUT end_at timestamptz,
    OUT zone text, OUT currency text, OUT limits jsonb, OUT no_entitlement text,
    OUT is_month boolean, OUT carried_since timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    sub record;
BEGIN
    SELECT s.id, s.status, s.cycle_start, s.cycle_end, s.current_period_end, s.zone, s.currency,
        s.anchor_wall, s.interval_unit, s.interval_count, s.amount_minor, s.created_at, s.plan_id,
        p.allowance_unit, p.allowance_count, p.past_due_access,
        usage_agreed_limits(s.account_id, p.limits, p_at) AS agreed,
        p.add_ons <> '[]' AS sells_more
    INTO sub
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    WHERE s.account_id = p_account_id
        AND s.status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused');
    IF coalesce(sub.status, 'incomplete') = 'incomplete' THEN
        is_month := true;
        SELECT a.zone INTO zone FROM accounts AS a WHERE a.id = p_account_id;
        limits := '{}';
        no_entitlement := sub.status;
        IF sub.status IS NULL THEN
            SELECT d.plan_id, d.limits, d.no_entitlement INTO plan_id, limits, no_entitlement
            FROM usage_default_terms(p_account_id, p_at) AS d;
        END IF;
    ELSE
        subscription_id := sub.id;
        plan_id := sub.plan_id;
        zone := sub.zone;
        currency := sub.currency;
        no_entitlement := CASE WHEN sub.status IN ('unpaid', 'paused')
            OR (sub.status = 'past_due' AND sub.past_due_access = 'none') THEN sub.status END;
        is_month := sub.amount_minor = 0 AND NOT sub.sells_more
            AND (sub.allowance_unit, sub.allowance_count) = ('month', 1)
            AND NOT sub.agreed @? '$[*] ? (@.then == "overage")';
        start_at := sub.cycle_start;
        end_at := sub.cycle_end;
        WHILE end_at <= p_at AND NOT is_month LOOP
            start_at := end_at;
            end_at := least(
                usage_boundary(sub.anchor_wall, zone, sub.allowance_unit, sub.allowance_count,
                    start_at),
                usage_boundary(sub.anchor_wall, zone, sub.interval_unit, sub.interval_count,
                    start_at));
        END LOOP;
        limits := usage_with_add_ons(sub.id, sub.current_period_end, usage_limits_of(
            sub.agreed, sub.status, sub.past_due_access, currency), start_at);
        IF sub.amount_minor = 0 AND start_at = sub.created_at THEN
            carried_since := date_trunc(sub.allowance_unit, start_at, zone);
        END IF;
    END IF;
    IF is_month THEN
        SELECT m.start_at, m.end_at, m.start_at INTO start_at, end_at, carried_since
        FROM usage_month(zone, p_at) AS m;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_unpaid(
    p_account_id uuid,
    OUT unpaid numeric, OUT unpaid_limit numeric, OUT currency text)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
DECLARE
    sub record;
    since timestamptz;
    limits jsonb;
BEGIN
    SELECT s.id, s.plan_id, s.currency, s.status, s.zone, s.cycle_start INTO sub
    FROM subscriptions AS s
    WHERE s.account_id = p_account_id
        AND s.status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused');
    currency := coalesce(sub.currency, (
        SELECT b.currency FROM credit_balances AS b WHERE b.account_id = p_account_id), 'USD');
    SELECT p.unpaid_limit INTO limits FROM plans AS p
    WHERE p.id = coalesce(sub.plan_id, plan_by_default());
    unpaid_limit := coalesce(
        (limits ->> currency)::numeric / power(10::numeric, money_exponent(currency)), 100);
    IF sub.status = 'past_due' THEN
        since := coalesce((
            SELECT min(opened_at) FROM dunning_cases
            WHERE account_id = p_account_id AND status IN ('open', 'paused')), sub.cycle_start);
    END IF;
    SELECT coalesce(sum(c.credits + c.overage_total) FILTER (WHERE f.status = 'failed'
                OR f.status = 'pending' AND f.currency = 'CREDIT'), 0)
            + coalesce(sum(c.overage_total) FILTER (WHERE f.method = 'subscription_included'
                AND c.bucket >= date_trunc('day', since, sub.zone)
                AND c.period_start >= (
                    SELECT max(start_at) FROM usage_periods
                    WHERE account_id = p_account_id AND start_at <= since)), 0)
    INTO unpaid
    FROM usage_counters AS c CROSS JOIN LATERAL (SELECT
        split_part(c.facet, '|', 2) AS method, split_part(c.facet, '|', 3) AS status,
        split_part(c.facet, '|', 4) AS currency) AS f
    WHERE c.account_id = p_account_id AND c.owner = '' AND c.grain = 'day';
END;
$$;

CREATE OR REPLACE FUNCTION credit_request_top_up(p_account_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH asked AS (
        UPDATE credit_balances SET top_up_open = true, top_up_from = NULL
        WHERE account_id = p_account_id AND NOT top_up_open
        RETURNING balance - held AS available
    )
    INSERT INTO top_ups (id, account_id, status, pack, threshold, available, wanted_at)
    SELECT uuidv7(), p_account_id, 'wanted', s.pack, s.threshold, asked.available, p_at
    FROM asked, top_up_settings AS s
    WHERE s.account_id = p_account_id;
    PERFORM account_watch(p_account_id, p_at, p_at);
    PERFORM set_config('app.top_ups',
        concat_ws(',', nullif(current_setting('app.top_ups', true), ''), p_account_id), true);
END;
$$;
