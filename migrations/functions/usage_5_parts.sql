-- The parts of recording a batch (usage_7_record.sql). Each expects the accounts' locks.

-- Lock accounts, which are listed in the order of their ids, for the rest of the transaction; the
-- open period of each, what its budgets do, and its clock; no clocks at all where nobody has one.
CREATE OR REPLACE FUNCTION usage_lock(
    p_accounts uuid[], OUT periods uuid[], OUT budgets text[], OUT clocks timestamptz[])
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    locked uuid[];
BEGIN
    SELECT array_agg(b.account_id), array_agg(b.period_id), array_agg(b.budget_mode)
    INTO locked, periods, budgets
    FROM (
        SELECT account_id, period_id, budget_mode FROM credit_balances
        WHERE account_id = ANY (p_accounts)
        ORDER BY account_id
        FOR NO KEY UPDATE) AS b;
    IF locked IS DISTINCT FROM p_accounts THEN
        RAISE EXCEPTION 'accounts are to be listed in order, and to be there';
    END IF;
    IF EXISTS (SELECT 1 FROM accounts WHERE id = ANY (p_accounts) AND clock_at IS NOT NULL) THEN
        clocks := ARRAY(
            SELECT (SELECT clock_at FROM accounts WHERE id = a.id)
            FROM unnest(p_accounts) WITH ORDINALITY AS a(id, place)
            ORDER BY a.place);
    END IF;
END;
$$;

-- The time and open period of each account, in the order of the accounts; `due` are positions of
-- those whose period is missing or over, `budgeted` of those with budgets, `bound` of those with
-- budgets that block. A period that another clock began is not ahead of the time of its uses.
CREATE OR REPLACE FUNCTION usage_accounts(
    p_accounts uuid[], p_periods uuid[], p_budgets text[], p_clocks timestamptz[],
    p_real_at timestamptz,
    OUT as_of timestamptz[], OUT starts timestamptz[], OUT zones text[], OUT limits jsonb[],
    OUT money text[], OUT due integer[], OUT budgeted integer[], OUT bound integer[])
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT
        array_agg(greatest(coalesce(a.clock_at, p_real_at), p.start_at) ORDER BY a.place),
        array_agg(p.start_at ORDER BY a.place), array_agg(p.zone ORDER BY a.place),
        array_agg(p.limits ORDER BY a.place), array_agg(p.currency ORDER BY a.place),
        array_agg(a.place::integer) FILTER (
            WHERE p.end_at IS NULL OR p.end_at <= coalesce(a.clock_at, p_real_at)),
        array_agg(a.place::integer) FILTER (WHERE a.budget_mode IS NOT NULL),
        array_agg(a.place::integer) FILTER (WHERE a.budget_mode = 'block')
    FROM unnest(p_accounts, p_periods, p_budgets, p_clocks) WITH ORDINALITY
        AS a(id, period_id, budget_mode, clock_at, place)
    LEFT JOIN usage_periods AS p ON p.id = a.period_id
$$;

-- Which of these records are there. One probe each: with a list of ids the planner may read whole
-- accounts instead.
CREATE OR REPLACE FUNCTION usage_known(p_ids uuid[]) RETURNS uuid[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT ARRAY(
        SELECT r.id FROM unnest(p_ids) AS r(id)
        CROSS JOIN LATERAL (SELECT 1 FROM billing_records WHERE id = r.id LIMIT 1) AS b)
$$;

-- Whether one account's records ask for more than its hard quotas have left. Late ones ask for
-- nothing; neither does what was claimed beforehand, nor what adds nothing, however much is used.
CREATE OR REPLACE FUNCTION usage_over_quota(
    p_records billing_records[], p_account_id uuid, p_at timestamptz)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH uses AS MATERIALIZED (
        SELECT r.user_id, r.organization_id, r.meter,
            r.included_amount + r.charged_amount AS amount, c.claim
        FROM unnest(p_records) AS r
        LEFT JOIN LATERAL (
            SELECT k AS claim FROM quota_claims AS k
            WHERE k.id = r.id AND k.status = 'open' LIMIT 1) AS c ON true
        WHERE r.failure IS NULL AND NOT r.is_late
    )
    SELECT coalesce(bool_or(a.amount > 0 AND a.amount
        + quota_used(q.used, q.used_before, q.span_seconds, q.window_start, p_at)
            > q.limit_amount), false)
    FROM billing_quotas AS q CROSS JOIN LATERAL (
        -- What one row gives back is not there yet for the rows before it.
        SELECT sum(greatest(0, r.added))
        FROM uses AS u CROSS JOIN LATERAL quota_rest(
            q, u.user_id, u.organization_id, u.meter, u.amount, u.claim) AS r) AS a(amount)
    WHERE q.account_id = p_account_id AND q.is_hard
$$;

-- Accounts (by position) that may not be able to pay all their records: what is certainly there
-- for any of them is less than all of them cost together.
CREATE OR REPLACE FUNCTION usage_short(
    p_records billing_records[], p_as_of timestamptz[], p_accounts uuid[])
RETURNS TABLE (account integer)
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT a.account
    FROM (
        SELECT account_id, meter, sum(total_amount) AS needed,
            bool_or(billing_method = 'wallet_deduction') AS bought_only
        FROM unnest(p_records)
        WHERE billing_status = 'processing'
        GROUP BY account_id, meter) AS r
    CROSS JOIN LATERAL (SELECT array_position(p_accounts, r.account_id)) AS a(account)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(remaining - held) FILTER (WHERE scope IS NULL), 0) AS general,
            coalesce(sum(remaining - held) FILTER (WHERE scope = r.meter), 0) AS scoped
        FROM credit_lots
        WHERE account_id = r.account_id AND is_open AND (is_paid OR NOT r.bought_only)
            AND coalesce(expires_at, 'infinity') > p_as_of[a.account] + interval '1 second'
    ) AS l
    GROUP BY a.account
    HAVING sum(greatest(0, r.needed - l.scoped)) > min(l.general)
$$;

-- Debit what is to be paid, per account, group and method by one entry; uses of a meter that the
-- account has credits for, whose scope is the meter, by one of their own. `members` are positions in
-- the records; without a transaction there was not enough, and `available` says what there was.
CREATE OR REPLACE FUNCTION usage_pay(
    p_records billing_records[], r_places integer[], r_account integer[], r_group integer[],
    p_contested boolean[])
RETURNS TABLE (members integer[], transaction_id uuid, available numeric)
LANGUAGE sql AS $$
    WITH scoped AS MATERIALIZED (
        SELECT DISTINCT l.account_id, l.scope
        FROM (SELECT DISTINCT account_id FROM unnest(p_records)) AS r
        CROSS JOIN LATERAL (
            SELECT account_id, scope FROM credit_lots
            WHERE account_id = r.account_id AND is_open AND scope IS NOT NULL
            OFFSET 0) AS l
    ), due AS (
        SELECT
            r.account_id, s.scope, sum(r.total_amount) AS amount,
            'usage/' || (array_agg(r.id ORDER BY r.ordinality))[1] AS key,
            CASE WHEN count(*) = 1 THEN coalesce('usage: ' || min(r.product_id), 'usage')
                ELSE 'usage: ' || count(*) || ' records' END AS reason,
            r.billing_method = 'wallet_deduction' AS bought_only,
            array_agg(r.ordinality::integer) AS members
        FROM unnest(p_records) WITH ORDINALITY AS r
        LEFT JOIN scoped AS s ON s.account_id = r.account_id AND s.scope = r.meter
        WHERE r.billing_status = 'processing' AND r.failure IS NULL
            AND NOT p_contested[r_account[r_places[r.ordinality]]]
        GROUP BY r.account_id, r_group[r_places[r.ordinality]], r.billing_method, s.scope
        ORDER BY min(r.ordinality)
    ), listed AS (
        SELECT
            array_agg(account_id) AS accounts, array_agg(amount) AS amounts,
            array_agg(key) AS keys, array_agg(reason) AS reasons,
            array_agg(bought_only) AS bought_only, array_agg(scope) AS scopes,
            array_agg(NULL::text) AS nothing,
            array_agg(NULL::jsonb) AS details
        FROM due
    ), paid AS (
        SELECT d.*
        FROM listed AS l CROSS JOIN LATERAL credit_debit_batch(
            l.accounts, l.amounts, l.keys, l.keys, l.reasons, l.scopes, l.bought_only,
            l.nothing, l.details) AS d
        WHERE l.accounts IS NOT NULL
    )
    SELECT m.members, p.transaction_id, p.available
    FROM paid AS p
    JOIN (SELECT members, row_number() OVER () AS place FROM due) AS m ON m.place = p.place
$$;

-- Late use that the next invoice would charge, where there is none: the subscription has ended. It
-- waits a day for more of its kind; then the account's matter writes a supplementary invoice.
CREATE OR REPLACE FUNCTION usage_late(p_records billing_records[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH ended AS (
        UPDATE usage_periods AS p SET late_at = r.at
        FROM (
            SELECT account_id, period_start, max(created_at) AS at FROM unnest(p_records)
            WHERE is_late AND currency <> 'CREDIT' AND billing_method = 'subscription_included'
            GROUP BY account_id, period_start) AS r
        WHERE p.account_id = r.account_id AND p.start_at = r.period_start AND p.late_at IS NULL
            AND EXISTS (
                SELECT 1 FROM subscriptions WHERE id = p.subscription_id AND status = 'canceled')
        RETURNING p.account_id, r.at
    )
    SELECT account_watch(account_id, min(at) + interval '1 day', min(at))
    FROM ended GROUP BY account_id
$$;

-- Statements on one account show its rows alone, for each of them reads the list of accounts anew.
-- Take the records that nothing speaks against: quotas first, then records and counters.
CREATE OR REPLACE FUNCTION usage_take(
    p_records billing_records[], r_places integer[], r_account integer[],
    p_contested boolean[], p_quoted uuid[], p_limited boolean, p_tiered text[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    everyone text := current_setting('app.accounts', true);
    taken billing_records[] := ARRAY(
        SELECT p_records[r.ordinality]
        FROM unnest(p_records) WITH ORDINALITY AS r
        WHERE r.failure IS NULL AND NOT p_contested[r_account[r_places[r.ordinality]]]);
    one record;
BEGIN
    IF cardinality(taken) = 0 THEN
        RETURN;
    END IF;
    IF cardinality(p_quoted) > 0 THEN
        FOR one IN
            SELECT account_id, array_agg(id) AS ids, array_agg(user_id) AS users,
                array_agg(organization_id) AS organizations, array_agg(meter) AS meters,
                array_agg(CASE WHEN is_late THEN 0 ELSE included_amount + charged_amount END)
                    AS amounts,
                max(created_at) AS at
            FROM unnest(taken)
            WHERE account_id = ANY (p_quoted)
            GROUP BY account_id
        LOOP
            PERFORM set_config('app.accounts', one.account_id::text, true);
            PERFORM quota_add(
                one.account_id, one.ids, one.users, one.organizations, one.meters, one.amounts,
                one.at);
            UPDATE quota_claims SET status = 'settled'
            WHERE id = ANY (one.ids) AND status = 'open';
        END LOOP;
        PERFORM set_config('app.accounts', everyone, true);
    END IF;
    IF p_limited THEN
        -- Of accounts without a quota too: a plan that blocks has set their part aside.
        UPDATE quota_claims SET status = 'settled'
        WHERE id = ANY (ARRAY(SELECT id FROM unnest(taken))) AND status = 'open';
    END IF;
    PERFORM usage_write(
        taken, p_limited, p_tiered, ARRAY(SELECT key FROM meters WHERE hourly),
        ARRAY(SELECT key FROM meters WHERE kind IN ('max', 'last')));
    IF EXISTS (SELECT 1 FROM unnest(taken) AS r WHERE r.is_late AND r.currency <> 'CREDIT') THEN
        PERFORM usage_late(taken);
    END IF;
    FOR one IN
        SELECT account_id, max(created_at) AS at FROM unnest(taken)
        WHERE currency <> 'CREDIT' AND billing_method = 'subscription_included' AND NOT is_late
        GROUP BY account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM usage_threshold(one.account_id, one.at);
        PERFORM set_config('app.accounts', everyone, true);
    END LOOP;
END;
$$;
