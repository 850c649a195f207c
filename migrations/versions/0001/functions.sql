SET LOCAL check_function_bodies = off;

CREATE TYPE credit_grant_item AS (
    account_id uuid, amount numeric, kind text, key text, is_paid boolean, reason text,
    expires_at timestamptz, scope text, priority integer, subject text, detail jsonb);

CREATE TYPE credit_debit_item AS (
    account_id uuid, amount numeric, key text, hash text, reason text, scope text,
    paid_only boolean, subject text, detail jsonb, forced boolean);

CREATE TYPE credit_debit_answer AS (
    place integer, verdict text, transaction_id uuid, amount numeric, balance numeric,
    available numeric, debt numeric, top_up boolean);

CREATE TYPE credit_hold_item AS (
    account_id uuid, amount numeric, key text, hash text, reason text, expires_at timestamptz,
    lifetime interval, scope text, paid_only boolean, subject text);

CREATE TYPE credit_hold_answer AS (
    place integer, verdict text, hold_id uuid, amount numeric, expires_at timestamptz,
    available numeric, status text, captured numeric, created_at timestamptz,
    resolved_at timestamptz, top_up boolean);

CREATE TYPE credit_capture_item AS (
    account_id uuid, hold_id uuid, amount numeric, reason text, detail jsonb);

CREATE TYPE credit_capture_answer AS (
    place integer, verdict text, hold_id uuid, transaction_id uuid, captured numeric,
    released numeric, balance numeric);

CREATE TYPE credit_part AS (lot_id uuid, amount numeric);

CREATE TYPE credit_posting AS (
    account_id uuid, kind text, key text, hash text, reason text, subject text, detail jsonb,
    at timestamptz);

CREATE TYPE credit_free_lot AS (id uuid, free numeric, scope text, is_paid boolean);

CREATE TYPE credit_debit_entry AS (
    id uuid, item credit_debit_item, seq bigint, debt numeric, balance_after numeric,
    used_after numeric, at timestamptz, parts credit_part[]);

CREATE TYPE credit_debits AS (
    answers credit_debit_answer[], entries credit_debit_entry[], wants_at timestamptz);

CREATE TYPE quota_input AS (
    owner text, meter text, window_kind text, span_seconds integer, limit_amount numeric,
    is_hard boolean, alert_percents integer[]);

CREATE TYPE quota_claim_input AS (
    id uuid, event_id text, user_id text, organization_id text, meter text, amount numeric,
    lifetime interval);

CREATE TYPE quota_use AS (
    id uuid, user_id text, organization_id text, meter text, amount numeric);

CREATE TYPE usage_input AS (
    place integer, account integer, kind integer, share integer, id uuid, hash bigint,
    event_id text, amount numeric, used_at timestamptz, user_id text, organization_id text,
    session_id text, request_id text, detail jsonb, hold_id uuid);

CREATE TYPE usage_kind AS (
    product_id text, service_type text, feature_type text, operation text, model text,
    method text, defers boolean);

CREATE TYPE usage_metered AS (
    kind integer, product_id text, service_type text, feature_type text, operation text,
    model text, method text, defers boolean, meter text, counts text, is_hourly boolean);

CREATE TYPE usage_fast_kind AS (
    kind integer, product_id text, service_type text, feature_type text, operation text,
    model text, method text, meter text, unit_price numeric, is_hourly boolean, facet text,
    counter integer);

CREATE TYPE usage_account AS (
    place integer, account_id uuid, as_of timestamptz, start_at timestamptz, day_at timestamptz,
    zone text, limits jsonb, currency text, budget_mode text, has_prices boolean,
    has_quotas boolean, is_due boolean);

CREATE TYPE usage_price AS (
    model text, unit_price numeric, package_size numeric, free_units numeric, tiers jsonb);

CREATE TYPE usage_rated AS (
    use usage_input, kind usage_metered, account_id uuid, meter text,
    included_units numeric(27, 12),
    charged_units numeric(27, 12), unit_price numeric(27, 12), total_amount numeric(27, 12),
    currency text, billing_method text, billing_status text, is_free_tier boolean, is_late boolean,
    failure text, transaction_id uuid, period_start timestamptz, day_at timestamptz,
    occurred_at timestamptz, created_at timestamptz, is_limited boolean, is_graded boolean,
    available numeric);

CREATE TYPE usage_answer AS (
    place integer, verdict text, id uuid, meter text, unit_price numeric, total numeric,
    currency text, method text, status text, is_free boolean, is_included boolean,
    required numeric, available numeric);

CREATE TYPE usage_countable AS (
    facet text, user_id text, organization_id text, operation text, model text, product_id text,
    is_hourly boolean, is_graded boolean, units numeric, charged_units numeric,
    total_amount numeric, currency text, is_free_tier boolean, day_at timestamptz,
    occurred_at timestamptz);

CREATE TYPE usage_counter_sum AS (
    account_id uuid, owner text, grain text, period_start timestamptz, bucket timestamptz,
    meter text, facet text, quantity numeric, events bigint, maximum numeric,
    last_value numeric, last_at timestamptz, credits numeric, overage numeric,
    overage_total numeric);

CREATE TYPE usage_growth AS (
    account_id uuid, period_start timestamptz, meter text, added numeric);

CREATE TYPE usage_due AS (
    account integer, share integer, method text, account_id uuid, as_of timestamptz,
    amount numeric, key text, reason text, bought_only boolean);

CREATE TYPE usage_threshold_alert AS (
    subject text, meter text, owner text, percent integer, window_start timestamptz,
    limit_amount numeric, used_amount numeric);

CREATE TYPE usage_line AS (
    meter text, start_at timestamptz, end_at timestamptz, zone text, currency text,
    true_up numeric, invoice text);

CREATE OR REPLACE FUNCTION money_exponent(p_currency text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
        WHEN p_currency IN (
            'BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'VND',
            'VUV', 'XAF', 'XOF', 'XPF') THEN 0
        ELSE 2
    END
$$;

CREATE OR REPLACE FUNCTION public_decimal(p_value numeric) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_value = 0 THEN '0'
        WHEN scale(trim_scale(p_value)) < 2 THEN round(p_value, 2)::text
        ELSE trim_scale(p_value)::text
    END
$$;

CREATE OR REPLACE FUNCTION public_id(p_prefix text, p_id uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT p_prefix || '_' || string_agg(
        substr(
            '0123456789abcdefghjkmnpqrstvwxyz', substring(number FROM i * 5 + 1 FOR 5)::int + 1, 1),
        '' ORDER BY i)
    FROM (SELECT B'00' || ('x' || replace(p_id::text, '-', ''))::bit(128)) AS bits(number),
         generate_series(0, 25) AS i
$$;

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' refused';
END;
$$;

CREATE OR REPLACE FUNCTION credit_add_lot(p_item credit_grant_item, p_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    new_lot uuid := uuidv7();
    owed numeric;
BEGIN
    -- Born empty: credit_post alone moves `remaining`.
    INSERT INTO credit_lots (
        id, account_id, kind, scope, priority, is_paid, amount, remaining, expires_at, is_open,
        grant_key, granted_seq, created_at)
    SELECT
        new_lot, p_item.account_id, p_item.kind, p_item.scope, p_item.priority, p_item.is_paid,
        p_item.amount, 0, p_item.expires_at, false, p_item.key, b.seq + 1,
        greatest(b.last_at, p_at)
    FROM credit_balances AS b WHERE b.account_id = p_item.account_id;
    PERFORM credit_post(
        ROW(p_item.account_id, 'grant', p_item.key, NULL, p_item.reason, p_item.subject,
            p_item.detail, p_at),
        ARRAY[ROW(new_lot, p_item.amount)::credit_part]);

    UPDATE credit_balances SET next_expiry = least(next_expiry, p_item.expires_at)
    WHERE account_id = p_item.account_id
    RETURNING least(debt, p_item.amount) INTO owed;
    IF owed > 0 THEN
        PERFORM credit_post(
            ROW(p_item.account_id, 'debt', p_item.key || '/debt', NULL, 'debt paid',
                p_item.subject, NULL, p_at),
            ARRAY[ROW(new_lot, -owed)::credit_part]);
    END IF;
    IF p_item.expires_at <= p_at THEN
        PERFORM credit_settle(p_item.account_id, p_at);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION credit_burn_order(p_account_id uuid)
RETURNS TABLE (place bigint, id uuid, free numeric, scope text, is_paid boolean)
LANGUAGE sql STABLE AS $$
    SELECT
        row_number() OVER (
            ORDER BY (l.scope IS NULL), l.priority, l.expires_at, l.is_paid, l.granted_seq),
        l.id, l.remaining - l.held, l.scope, l.is_paid
    FROM credit_lots AS l
    WHERE l.account_id = p_account_id AND l.is_open AND l.remaining > l.held
    ORDER BY (l.scope IS NULL), l.priority, l.expires_at, l.is_paid, l.granted_seq
$$;

CREATE OR REPLACE FUNCTION credit_capture_fast(
    p_items credit_capture_item[], p_accounts uuid[], p_at timestamptz)
RETURNS SETOF credit_capture_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    fit record;
BEGIN
    IF cardinality(p_accounts) > (SELECT count(DISTINCT u) FROM unnest(p_accounts) AS u) THEN
        RETURN;
    END IF;
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    fit := credit_capture_fit(p_items, p_at, clock_timestamp());
    IF NOT fit.all_fit THEN
        PERFORM set_config('app.accounts', shown, true);
        RETURN;
    END IF;
    RETURN QUERY
    WITH items AS MATERIALIZED (
        SELECT
            i.account_id, i.hold_id, i.reason, i.detail, i.id, i.lot_id, i.as_of, i.held,
            coalesce(i.amount, i.held) AS captured, i.subject, i.place
        FROM ROWS FROM (
            unnest(p_items), unnest(fit.ids), unnest(fit.lots), unnest(fit.as_of),
            unnest(fit.held), unnest(fit.subjects)
        ) WITH ORDINALITY AS i(
            account_id, hold_id, amount, reason, detail, id, lot_id, as_of, held, subject, place)
    ), lots AS (
        UPDATE credit_lots AS l
        SET held = l.held - i.held, remaining = l.remaining - i.captured,
            is_open = l.remaining - i.captured > 0
        FROM items AS i WHERE l.id = i.lot_id
    ), moved AS MATERIALIZED (
        UPDATE credit_balances AS b
        SET held = b.held - i.held, balance = b.balance - i.captured,
            used = b.used + i.captured, seq = b.seq + 1, last_at = greatest(b.last_at, i.as_of)
        FROM items AS i WHERE b.account_id = i.account_id
        RETURNING i.place, b.balance, b.used, b.seq, b.last_at
    ), entries AS (
        INSERT INTO credit_transactions (
            id, account_id, seq, kind, amount, balance_after, used_after, key, reason, subject,
            detail, at, real_at)
        SELECT i.id, i.account_id, m.seq, 'capture', -i.captured, m.balance, m.used,
            public_id('hld', i.hold_id) || '/capture', i.reason, i.subject,
            coalesce(i.detail, '{}'), m.last_at, clock_timestamp()
        FROM items AS i JOIN moved AS m ON m.place = i.place
    ), lines AS (
        INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
        SELECT id, lot_id, account_id, -captured FROM items
    ), ended AS (
        UPDATE credit_holds AS h
        SET status = 'captured', captured = i.captured, resolved_at = i.as_of
        FROM items AS i WHERE h.id = i.hold_id
    )
    SELECT i.place::integer, 'ok', i.hold_id, i.id, i.captured, i.held - i.captured, m.balance
    FROM items AS i JOIN moved AS m ON m.place = i.place;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_capture_fit(
    p_items credit_capture_item[], p_at timestamptz, p_real_at timestamptz,
    OUT all_fit boolean, OUT ids uuid[], OUT lots uuid[], OUT as_of timestamptz[],
    OUT held numeric[], OUT subjects text[])
LANGUAGE plpgsql AS $$
BEGIN
    SELECT count(*) = cardinality(p_items), array_agg(uuidv7()),
        array_agg(s.lot_id ORDER BY s.place), array_agg(s.as_of ORDER BY s.place),
        array_agg(s.held ORDER BY s.place), array_agg(s.subject ORDER BY s.place)
    INTO all_fit, ids, lots, as_of, held, subjects
    FROM (
        SELECT i.ordinality AS place, l.id AS lot_id, t.as_of, h.amount AS held, h.subject
        FROM unnest(p_items) WITH ORDINALITY AS i
        JOIN accounts AS a ON a.id = i.account_id
        JOIN credit_balances AS b ON b.account_id = i.account_id
        JOIN credit_holds AS h ON h.id = i.hold_id AND h.account_id = i.account_id
        JOIN credit_hold_lots AS p ON p.hold_id = i.hold_id AND p.position = 1
        JOIN credit_lots AS l ON l.id = p.lot_id
        CROSS JOIN LATERAL (SELECT coalesce(p_at, a.clock_at, p_real_at) AS as_of) AS t
        WHERE h.status = 'open' AND p.amount = h.amount AND coalesce(i.amount, h.amount) > 0
            AND coalesce(i.amount, h.amount) <= h.amount AND l.claimed = 0
            AND coalesce(l.expires_at > t.as_of, true)
            AND coalesce(b.next_expiry > t.as_of, true)) AS s;
END;
$$;

CREATE OR REPLACE FUNCTION credit_capture_many(
    p_items credit_capture_item[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_capture_answer
LANGUAGE plpgsql AS $$
DECLARE
    place integer;
    answer credit_capture_answer;
    accounts uuid[] := ARRAY(SELECT i.account_id FROM unnest(p_items) AS i);
BEGIN
    PERFORM credit_lock_all(accounts);
    RETURN QUERY SELECT f.* FROM credit_capture_fast(p_items, accounts, p_at) AS f;
    IF FOUND THEN
        RETURN;
    END IF;
    FOR place IN
        SELECT u.ordinality FROM unnest(accounts) WITH ORDINALITY AS u(account_id)
        ORDER BY u.account_id, u.ordinality
    LOOP
        answer := credit_capture_one(p_items[place], p_at);
        answer.place := place;
        RETURN NEXT answer;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION credit_capture_one(
    p_item credit_capture_item, p_at timestamptz DEFAULT NULL)
RETURNS credit_capture_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_item.account_id, p_at);
    known record;
    answer credit_capture_answer;
    posting credit_posting;
BEGIN
    SELECT h.amount, h.captured, h.status, h.subject INTO known
    FROM credit_holds AS h WHERE h.id = p_item.hold_id AND h.account_id = p_item.account_id;
    answer.hold_id := p_item.hold_id;
    answer.captured := coalesce(p_item.amount, known.amount);
    answer.released := known.amount - answer.captured;
    answer.verdict := credit_hold_verdict(
        as_of, known.status, known.captured = answer.captured);
    IF answer.verdict = 'ok' AND answer.captured > known.amount THEN
        answer.verdict := 'exceeded';
    END IF;
    posting := ROW(p_item.account_id, 'capture', public_id('hld', p_item.hold_id) || '/capture',
        NULL, p_item.reason, known.subject, p_item.detail, as_of);
    IF answer.verdict = 'ok' THEN
        PERFORM credit_spend_held(p_item.hold_id, answer.captured, posting);
        PERFORM credit_release_lots(p_item.account_id, p_item.hold_id, answer.captured, as_of);
        UPDATE credit_holds AS h
        SET status = 'captured', captured = answer.captured, resolved_at = as_of
        WHERE h.id = p_item.hold_id;
    END IF;
    SELECT t.id, t.balance_after INTO answer.transaction_id, answer.balance
    FROM credit_transactions AS t WHERE t.key = posting.key;
    PERFORM set_config('app.accounts', shown, true);
    RETURN answer;
END;
$$;

CREATE OR REPLACE FUNCTION credit_clawback(
    p_account_id uuid, p_grant_key text, p_amount numeric, p_key text, p_reason text,
    p_at timestamptz DEFAULT NULL, p_subject text DEFAULT NULL,
    OUT verdict text, OUT transaction_id uuid, OUT taken numeric, OUT pending numeric,
    OUT loss numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    lot record;
    known record;
    hash text := p_grant_key || ' ' || trim_scale(p_amount)::text;
    asked numeric;
BEGIN
    SELECT l.id, l.amount, l.remaining, l.held, l.claimed, l.clawed, l.lost INTO lot
    FROM credit_lots AS l WHERE l.grant_key = p_grant_key AND l.account_id = p_account_id;
    SELECT t.id, t.request_hash, t.amount, t.detail INTO known
    FROM credit_transactions AS t WHERE t.key = p_key AND t.account_id = p_account_id;
    verdict := credit_verdict(as_of, known.id IS NOT NULL, known.request_hash = hash);
    IF verdict = 'ok' AND lot.id IS NULL THEN
        verdict := 'no_grant';
    ELSIF verdict = 'duplicate' THEN
        transaction_id := known.id;
        taken := -known.amount;
        pending := (known.detail ->> 'pending')::numeric;
        loss := (known.detail ->> 'loss')::numeric;
    ELSIF verdict = 'ok' THEN
        asked := least(p_amount, lot.amount - lot.clawed - lot.claimed - lot.lost);
        taken := least(asked, lot.remaining - lot.held);
        pending := least(asked - taken, lot.held - lot.claimed);
        loss := asked - taken - pending;
        transaction_id := credit_post(
            ROW(p_account_id, 'clawback', p_key, hash, p_reason, p_subject,
                jsonb_build_object(
                    'asked', public_decimal(p_amount), 'pending', public_decimal(pending),
                    'loss', public_decimal(loss)),
                as_of),
            CASE WHEN taken > 0 THEN ARRAY[ROW(lot.id, -taken)::credit_part] ELSE '{}' END);
        UPDATE credit_lots AS l
        SET clawed = l.clawed + taken, claimed = l.claimed + pending, lost = l.lost + loss
        WHERE l.id = lot.id;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_debit_account(
    p_account_id uuid, p_items credit_debit_item[], p_places integer[], p_at timestamptz)
RETURNS credit_debits
LANGUAGE plpgsql AS $$
DECLARE
    as_of timestamptz := credit_open(p_account_id, p_at);
    mine credit_balances := (SELECT b FROM credit_balances AS b WHERE account_id = p_account_id);
    lots CURSOR FOR SELECT id, free, scope, is_paid FROM credit_burn_order(p_account_id);
    at_hand credit_free_lot[] := '{}';
    item record;
    room numeric;
    picked record;
    wants_at timestamptz;
    entry credit_debit_entry;
    entries credit_debit_entry[] := '{}';
    -- Which entry took the key of the item at a place.
    takers integer[] := array_fill(NULL::integer, ARRAY[cardinality(p_items)]);
    answer credit_debit_answer;
    answers credit_debit_answer[] := '{}';
BEGIN
    mine.last_at := greatest(mine.last_at, as_of);
    OPEN lots;
    FOR item IN
        SELECT i.ordinality::integer AS nth, i.hash, i.amount, i.forced,
            lag(i.ordinality::integer) OVER (PARTITION BY i.key ORDER BY i.ordinality) AS before,
            t.id, t.request_hash, t.balance_after, t.debt
        FROM unnest(p_items) WITH ORDINALITY AS i
        LEFT JOIN LATERAL (
            SELECT e.id, e.request_hash, e.balance_after, e.debt, e.account_id
            FROM credit_transactions AS e WHERE e.key = i.key LIMIT 1) AS t
            ON t.account_id = p_account_id
        ORDER BY i.ordinality
    LOOP
        takers[item.nth] := takers[item.before];
        entry := entries[takers[item.nth]];
        answer := ROW(p_places[item.nth], credit_verdict(
                as_of, coalesce(item.id, entry.id) IS NOT NULL,
                coalesce(item.request_hash, (entry.item).hash) = item.hash),
            coalesce(item.id, entry.id), item.amount, coalesce(item.balance_after,
            entry.balance_after), NULL, coalesce(item.debt, entry.debt, 0), false);
        IF answer.verdict = 'ok' THEN
            room := CASE WHEN item.forced THEN greatest(mine.overdraft - mine.debt, 0) ELSE 0 END;
            picked := credit_pick_at_hand(lots, at_hand, p_items[item.nth], room);
            at_hand := picked.at_hand;
            IF picked.need > room THEN
                answer.verdict := 'insufficient';
                answer.available := item.amount - picked.need + room;
            ELSE
                mine.seq := mine.seq + 1;
                mine.balance := mine.balance - item.amount + picked.need;
                mine.debt := mine.debt + picked.need;
                mine.used := mine.used + item.amount;
                entry := ROW(uuidv7(), p_items[item.nth], mine.seq, picked.need, mine.balance,
                    mine.used, mine.last_at, picked.parts);
                entries := entries || entry;
                takers[item.nth] := cardinality(entries);
                answer.transaction_id := entry.id;
                answer.balance := mine.balance;
                answer.debt := entry.debt;
            END IF;
            answer.top_up := credit_wants_top_up(mine, mine.last_at);
            mine.top_up_open := mine.top_up_open OR answer.top_up;
            wants_at := CASE WHEN answer.top_up THEN mine.last_at ELSE wants_at END;
        END IF;
        answers := answers || answer;
    END LOOP;
    RETURN ROW(answers, entries, wants_at);
END;
$$;

CREATE OR REPLACE FUNCTION credit_debit_fast(
    p_account_ids uuid[], p_as_of timestamptz[], p_amounts numeric[], p_keys text[],
    p_reasons text[], p_bought_only boolean, OUT entries uuid[], OUT whole boolean)
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH items AS MATERIALIZED (
        SELECT
            i.place, i.account_id, i.as_of, i.amount, i.key, i.reason, uuidv7() AS id,
            sum(i.amount) OVER w AS until, row_number() OVER w AS nth
        FROM unnest(p_account_ids, p_as_of, p_amounts, p_keys, p_reasons) WITH ORDINALITY
            AS i(account_id, as_of, amount, key, reason, place)
        WINDOW w AS (PARTITION BY i.account_id ORDER BY i.place ROWS UNBOUNDED PRECEDING)
    ), sums AS MATERIALIZED (
        SELECT account_id, max(until) AS amount, max(nth) AS entries, max(as_of) AS as_of
        FROM items GROUP BY account_id
    ), lots AS MATERIALIZED (
        SELECT s.account_id, l.id, l.until - l.free AS since, l.until
        FROM sums AS s CROSS JOIN LATERAL (
            SELECT o.id, o.free,
                sum(o.free) OVER (ORDER BY o.place ROWS UNBOUNDED PRECEDING) AS until
            FROM credit_burn_order(s.account_id) AS o
            WHERE credit_may_burn(o.scope, o.is_paid, NULL, p_bought_only)) AS l
        WHERE l.until - l.free < s.amount
    ), lines AS MATERIALIZED (
        SELECT i.id AS transaction_id, l.id AS lot_id, i.account_id,
            greatest(i.until - i.amount, l.since) - least(i.until, l.until) AS amount
        FROM items AS i JOIN lots AS l ON l.account_id = i.account_id
        WHERE l.since < i.until AND l.until > i.until - i.amount
    ), burnt AS (
        UPDATE credit_lots AS l
        SET remaining = l.remaining + u.amount, is_open = l.remaining + u.amount > 0
        FROM (SELECT lot_id, sum(amount) AS amount FROM lines GROUP BY lot_id) AS u
        WHERE l.id = u.lot_id
    ), moved AS MATERIALIZED (
        UPDATE credit_balances AS b
        SET balance = b.balance - s.amount, used = b.used + s.amount, seq = b.seq + s.entries,
            last_at = greatest(b.last_at, s.as_of)
        FROM sums AS s
        WHERE b.account_id = s.account_id
        RETURNING b.account_id, old.balance, old.used, old.seq, new.last_at
    ), split AS (
        INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
        SELECT transaction_id, lot_id, account_id, amount FROM lines
    ), written AS (
        INSERT INTO credit_transactions (
            id, account_id, seq, kind, amount, balance_after, used_after, key, request_hash,
            paid_only, reason, at, real_at)
        SELECT i.id, i.account_id, m.seq + i.nth, 'debit', -i.amount, m.balance - i.until,
            m.used + i.until, i.key, i.key, p_bought_only, i.reason, m.last_at, clock_timestamp()
        FROM items AS i JOIN moved AS m ON m.account_id = i.account_id
    )
    SELECT array_agg(id ORDER BY place),
        sum(amount) + coalesce((SELECT sum(amount) FROM lines), 0) = 0
    FROM items
$$;

CREATE OR REPLACE FUNCTION credit_debit_many(
    p_items credit_debit_item[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_debit_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    accounts uuid[] := ARRAY(SELECT DISTINCT i.account_id FROM unnest(p_items) AS i);
    mine record;
    decided credit_debits;
    entries credit_debit_entry[] := '{}';
    wanting uuid[] := '{}';
    wanting_at timestamptz[] := '{}';
BEGIN
    PERFORM credit_lock_all(accounts);
    FOR mine IN
        SELECT i.account_id, array_agg(i.ordinality::integer ORDER BY i.ordinality) AS places
        FROM unnest(p_items) WITH ORDINALITY AS i
        GROUP BY i.account_id
        ORDER BY i.account_id
    LOOP
        decided := credit_debit_account(
            mine.account_id, ARRAY(SELECT p_items[u.place] FROM unnest(mine.places) AS u(place)),
            mine.places, p_at);
        RETURN QUERY SELECT a.* FROM unnest(decided.answers) AS a;
        entries := entries || decided.entries;
        IF decided.wants_at IS NOT NULL THEN
            wanting := wanting || mine.account_id;
            wanting_at := wanting_at || decided.wants_at;
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', array_to_string(accounts, ','), true);
    PERFORM credit_debit_write(entries);
    PERFORM credit_request_top_up(u.account_id, u.at)
    FROM unnest(wanting, wanting_at) AS u(account_id, at);
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_debit_write(p_entries credit_debit_entry[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(p_entries) = 0 THEN
        RETURN;
    END IF;
    INSERT INTO credit_transactions (
        id, account_id, seq, kind, amount, debt, scope, paid_only, balance_after, used_after, key,
        request_hash, reason, subject, detail, at, real_at)
    SELECT e.id, (e.item).account_id, e.seq, 'debit', e.debt - (e.item).amount, e.debt,
        (e.item).scope, coalesce((e.item).paid_only, false), e.balance_after, e.used_after,
        (e.item).key, (e.item).hash, (e.item).reason, (e.item).subject,
        coalesce((e.item).detail, '{}'), e.at, clock_timestamp()
    FROM unnest(p_entries) AS e;
    INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
    SELECT e.id, p.lot_id, (e.item).account_id, -p.amount
    FROM unnest(p_entries) AS e CROSS JOIN LATERAL unnest(e.parts) AS p;
    UPDATE credit_lots AS l
    SET remaining = l.remaining - u.amount, is_open = l.remaining - u.amount > 0
    FROM (
        SELECT p.lot_id, sum(p.amount) AS amount
        FROM unnest(p_entries) AS e CROSS JOIN LATERAL unnest(e.parts) AS p
        GROUP BY p.lot_id) AS u
    WHERE l.id = u.lot_id;
    -- An account's balance goes down and its use goes up with every entry.
    UPDATE credit_balances AS b
    SET balance = u.balance, used = u.used, seq = u.seq, last_at = u.at, debt = b.debt + u.debt
    FROM (
        SELECT (e.item).account_id, min(e.balance_after) AS balance, max(e.used_after) AS used,
            max(e.seq) AS seq, max(e.at) AS at, sum(e.debt) AS debt
        FROM unnest(p_entries) AS e
        GROUP BY (e.item).account_id) AS u
    WHERE b.account_id = u.account_id;
END;
$$;

CREATE OR REPLACE FUNCTION credit_deduct(
    p_account_id uuid, p_amount numeric, p_key text, p_hash text, p_reason text,
    p_at timestamptz DEFAULT NULL, p_scope text DEFAULT NULL, p_subject text DEFAULT NULL,
    OUT verdict text, OUT transaction_id uuid, OUT amount numeric, OUT balance numeric,
    OUT available numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    known record;
    parts credit_part[];
BEGIN
    amount := p_amount;
    SELECT t.id, t.request_hash INTO known
    FROM credit_transactions AS t WHERE t.key = p_key AND t.account_id = p_account_id;
    verdict := credit_verdict(as_of, known.id IS NOT NULL, known.request_hash = p_hash);
    IF verdict = 'ok' THEN
        parts := credit_pick_lots(p_account_id, p_amount, p_scope, false);
        IF credit_sum(parts) < p_amount THEN
            verdict := 'insufficient';
            available := credit_sum(parts);
        ELSE
            PERFORM credit_post(
                ROW(p_account_id, 'adjustment', p_key, p_hash, p_reason, p_subject, NULL, as_of),
                ARRAY(SELECT ROW(p.lot_id, -p.amount)::credit_part FROM unnest(parts) AS p));
        END IF;
    END IF;
    SELECT t.id, t.balance_after INTO transaction_id, balance
    FROM credit_transactions AS t WHERE t.key = p_key AND t.account_id = p_account_id;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_expire(
    p_account_id uuid, p_at timestamptz DEFAULT NULL,
    OUT verdict text, OUT credits numeric, OUT holds integer, OUT next_expiry timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_lock(p_account_id, p_at);
BEGIN
    verdict := credit_verdict(as_of, false, false);
    IF verdict = 'ok' THEN
        SELECT s.credits, s.holds INTO credits, holds FROM credit_settle(p_account_id, as_of) AS s;
        SELECT b.next_expiry INTO next_expiry
        FROM credit_balances AS b WHERE b.account_id = p_account_id;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_expire_lot(
    p_account_id uuid, p_grant_key text, p_at timestamptz DEFAULT NULL,
    p_reason text DEFAULT 'ended',
    OUT verdict text, OUT expired numeric, OUT held numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    lot record;
BEGIN
    SELECT l.id, l.expires_at, l.held INTO lot
    FROM credit_lots AS l WHERE l.grant_key = p_grant_key AND l.account_id = p_account_id;
    verdict := credit_verdict(as_of, false, false);
    IF verdict = 'ok' AND lot.id IS NULL THEN
        verdict := 'no_grant';
    ELSIF verdict = 'ok' THEN
        IF lot.expires_at > as_of OR lot.expires_at IS NULL THEN
            UPDATE credit_lots SET expires_at = as_of WHERE id = lot.id;
            PERFORM credit_expire_unspent(p_account_id, lot.id, as_of, p_reason);
        END IF;
        held := lot.held;
        SELECT coalesce(-sum(p.amount), 0) INTO expired
        FROM credit_transaction_lots AS p
        JOIN credit_transactions AS t ON t.id = p.transaction_id
        WHERE p.lot_id = lot.id AND t.kind = 'expire';
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_expire_part(
    p_account_id uuid, p_lot_id uuid, p_amount numeric, p_key text, p_at timestamptz, p_reason text)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM credit_post(
        ROW(p_account_id, 'expire', p_key, NULL, p_reason, public_id('lot', p_lot_id), NULL, p_at),
        ARRAY[ROW(p_lot_id, -p_amount)::credit_part]);
    PERFORM credit_publish(
        p_account_id, 'credits.expired',
        jsonb_build_object(
            'lot_id', public_id('lot', p_lot_id),
            'credits', public_decimal(p_amount),
            'balance', public_decimal(b.balance),
            'reason', p_reason),
        p_at)
    FROM credit_balances AS b WHERE b.account_id = p_account_id;
END;
$$;

CREATE OR REPLACE FUNCTION credit_expire_unspent(
    p_account_id uuid, p_lot_id uuid, p_at timestamptz, p_reason text)
RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    unspent numeric := (SELECT l.remaining - l.held FROM credit_lots AS l WHERE l.id = p_lot_id);
BEGIN
    IF unspent > 0 THEN
        PERFORM credit_expire_part(
            p_account_id, p_lot_id, unspent, public_id('lot', p_lot_id) || '/expire', p_at,
            p_reason);
    END IF;
    RETURN unspent;
END;
$$;

CREATE OR REPLACE FUNCTION credit_grant_once(
    p_item credit_grant_item, p_at timestamptz DEFAULT NULL,
    OUT verdict text, OUT lot_id uuid, OUT transaction_id uuid, OUT amount numeric,
    OUT balance numeric, OUT debt_paid numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_item.account_id, p_at);
    used text := (
        SELECT t.kind FROM credit_transactions AS t
        WHERE t.key = p_item.key AND t.account_id = p_item.account_id);
BEGIN
    verdict := credit_verdict(as_of, used IS NOT NULL, used = 'grant');
    IF verdict = 'ok' THEN
        PERFORM credit_add_lot(p_item, as_of);
    END IF;
    SELECT l.id, t.id, l.amount, coalesce(d.balance_after, t.balance_after), coalesce(-d.amount, 0)
    INTO lot_id, transaction_id, amount, balance, debt_paid
    FROM credit_lots AS l
    JOIN credit_transactions AS t ON t.key = l.grant_key
    LEFT JOIN credit_transactions AS d ON d.key = l.grant_key || '/debt'
    WHERE l.grant_key = p_item.key;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_hold_fast(
    p_items credit_hold_item[], p_accounts uuid[], p_at timestamptz)
RETURNS SETOF credit_hold_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    fit record;
BEGIN
    IF cardinality(p_accounts) > (SELECT count(DISTINCT u) FROM unnest(p_accounts) AS u) THEN
        RETURN;
    END IF;
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    fit := credit_hold_fit(p_items, p_at, clock_timestamp());
    IF NOT fit.all_fit THEN
        PERFORM set_config('app.accounts', shown, true);
        RETURN;
    END IF;
    RETURN QUERY
    WITH items AS MATERIALIZED (
        SELECT
            i.account_id, i.amount, i.key, i.hash, i.reason, i.scope, i.paid_only, i.subject,
            i.id, i.lot_id, i.as_of, i.ends, i.place
        FROM ROWS FROM (
            unnest(p_items), unnest(fit.ids), unnest(fit.lots), unnest(fit.as_of), unnest(fit.ends)
        ) WITH ORDINALITY AS i(
            account_id, amount, key, hash, reason, expires_at, lifetime, scope, paid_only, subject,
            id, lot_id, as_of, ends, place)
    ), held AS (
        INSERT INTO credit_holds (
            id, account_id, status, amount, key, request_hash, scope, paid_only, reason,
            subject, created_at, expires_at)
        SELECT id, account_id, 'open', amount, key, hash, scope, paid_only, reason, subject,
            as_of, ends
        FROM items
    ), split AS (
        INSERT INTO credit_hold_lots (hold_id, position, lot_id, account_id, amount)
        SELECT id, 1, lot_id, account_id, amount FROM items
    ), lots AS (
        UPDATE credit_lots AS l SET held = l.held + i.amount
        FROM items AS i WHERE l.id = i.lot_id
    ), moved AS (
        UPDATE credit_balances AS b
        SET held = b.held + i.amount, next_expiry = least(b.next_expiry, i.ends)
        FROM items AS i WHERE b.account_id = i.account_id
    )
    SELECT place::integer, 'ok', id, amount, ends, NULL::numeric, 'open', 0::numeric, as_of,
        NULL::timestamptz, false
    FROM items;
    -- Whatever ends later is seen to when the matter looks at what ends first.
    PERFORM account_watch(u.account_id, u.ends, u.as_of)
    FROM (
        SELECT i.account_id, i.ends, i.as_of
        FROM unnest(p_accounts, fit.ends, fit.as_of, fit.before)
            AS i(account_id, ends, as_of, before)
        WHERE coalesce(i.before > i.ends, true)
        ORDER BY i.account_id) AS u;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_hold_fit(
    p_items credit_hold_item[], p_at timestamptz, p_real_at timestamptz,
    OUT all_fit boolean, OUT ids uuid[], OUT lots uuid[], OUT as_of timestamptz[],
    OUT ends timestamptz[], OUT before timestamptz[])
LANGUAGE plpgsql AS $$
BEGIN
    SELECT count(*) = cardinality(p_items), array_agg(uuidv7()),
        array_agg(s.lot_id ORDER BY s.place), array_agg(s.as_of ORDER BY s.place),
        array_agg(s.ends ORDER BY s.place), array_agg(s.next_expiry ORDER BY s.place)
    INTO all_fit, ids, lots, as_of, ends, before
    FROM (
        SELECT i.ordinality AS place, l.id AS lot_id, t.as_of, e.ends, b.next_expiry
        FROM unnest(p_items) WITH ORDINALITY AS i
        JOIN accounts AS a ON a.id = i.account_id
        JOIN credit_balances AS b ON b.account_id = i.account_id
        CROSS JOIN LATERAL (SELECT coalesce(p_at, a.clock_at, p_real_at) AS as_of) AS t
        CROSS JOIN LATERAL (SELECT coalesce(i.expires_at, t.as_of + i.lifetime) AS ends) AS e
        CROSS JOIN LATERAL (
            SELECT o.id, o.free FROM credit_burn_order(i.account_id) AS o
            WHERE credit_may_burn(o.scope, o.is_paid, i.scope, i.paid_only)
            LIMIT 1) AS l
        WHERE l.free >= i.amount AND e.ends > t.as_of AND coalesce(b.next_expiry > t.as_of, true)
            AND NOT coalesce(b.top_up_below > b.balance - b.held - i.amount, false)
            AND NOT EXISTS (SELECT FROM credit_holds AS h WHERE h.key = i.key)) AS s;
END;
$$;

CREATE OR REPLACE FUNCTION credit_hold_many(
    p_items credit_hold_item[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_hold_answer
LANGUAGE plpgsql AS $$
DECLARE
    place integer;
    answer credit_hold_answer;
    accounts uuid[] := ARRAY(SELECT i.account_id FROM unnest(p_items) AS i);
BEGIN
    PERFORM credit_lock_all(accounts);
    RETURN QUERY SELECT f.* FROM credit_hold_fast(p_items, accounts, p_at) AS f;
    IF FOUND THEN
        RETURN;
    END IF;
    FOR place IN
        SELECT u.ordinality FROM unnest(accounts) WITH ORDINALITY AS u(account_id)
        ORDER BY u.account_id, u.ordinality
    LOOP
        answer := credit_hold_one(p_items[place], p_at);
        answer.place := place;
        RETURN NEXT answer;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION credit_hold_one(p_item credit_hold_item, p_at timestamptz DEFAULT NULL)
RETURNS credit_hold_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_item.account_id, p_at);
    known record;
    answer credit_hold_answer;
    parts credit_part[];
BEGIN
    SELECT h.id, h.request_hash, h.expires_at, h.status, h.captured, h.created_at, h.resolved_at
    INTO known
    FROM credit_holds AS h WHERE h.key = p_item.key AND h.account_id = p_item.account_id;
    answer.hold_id := coalesce(known.id, uuidv7());
    answer.amount := p_item.amount;
    answer.expires_at := coalesce(known.expires_at, p_item.expires_at, as_of + p_item.lifetime);
    answer.status := coalesce(known.status, 'open');
    answer.captured := coalesce(known.captured, 0);
    answer.created_at := coalesce(known.created_at, as_of);
    answer.resolved_at := known.resolved_at;
    answer.top_up := false;
    answer.verdict := credit_verdict(
        as_of, known.id IS NOT NULL, known.request_hash = p_item.hash);
    IF answer.verdict = 'ok' AND answer.expires_at <= as_of THEN
        answer.verdict := 'ends_in_the_past';
    ELSIF answer.verdict = 'ok' THEN
        parts := credit_pick_lots(
            p_item.account_id, p_item.amount, p_item.scope, p_item.paid_only);
        IF credit_sum(parts) < p_item.amount THEN
            answer.verdict := 'insufficient';
            answer.available := credit_sum(parts);
        ELSE
            PERFORM credit_hold_write(p_item, answer, parts);
        END IF;
        answer.top_up := (
            SELECT credit_wants_top_up(b, as_of) FROM credit_balances AS b
            WHERE b.account_id = p_item.account_id);
        IF answer.top_up THEN
            PERFORM credit_request_top_up(p_item.account_id, as_of);
        END IF;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
    RETURN answer;
END;
$$;

CREATE OR REPLACE FUNCTION credit_hold_verdict(
    p_as_of timestamptz, p_status text, p_is_repeat boolean)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_as_of IS NULL THEN 'no_account'
        WHEN p_status IS NULL THEN 'no_hold'
        WHEN p_is_repeat THEN 'duplicate'
        WHEN p_status <> 'open' THEN p_status
        ELSE 'ok'
    END
$$;

CREATE OR REPLACE FUNCTION credit_hold_write(
    p_item credit_hold_item, p_hold credit_hold_answer, p_parts credit_part[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    before timestamptz;
BEGIN
    INSERT INTO credit_holds (
        id, account_id, status, amount, key, request_hash, scope, paid_only, reason, subject,
        created_at, expires_at)
    VALUES (
        p_hold.hold_id, p_item.account_id, 'open', p_item.amount, p_item.key, p_item.hash,
        p_item.scope, p_item.paid_only, p_item.reason, p_item.subject, p_hold.created_at,
        p_hold.expires_at);
    INSERT INTO credit_hold_lots (hold_id, position, lot_id, account_id, amount)
    SELECT p_hold.hold_id, p.ordinality, p.lot_id, p_item.account_id, p.amount
    FROM unnest(p_parts) WITH ORDINALITY AS p;
    UPDATE credit_lots AS l SET held = l.held + p.amount
    FROM unnest(p_parts) AS p WHERE l.id = p.lot_id;
    UPDATE credit_balances AS b
    SET held = b.held + p_item.amount, next_expiry = least(b.next_expiry, p_hold.expires_at)
    WHERE b.account_id = p_item.account_id
    RETURNING old.next_expiry INTO before;
    IF coalesce(before > p_hold.expires_at, true) THEN
        PERFORM account_watch(p_item.account_id, p_hold.expires_at, p_hold.created_at);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION credit_lock(p_account_id uuid, p_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('app.accounts', p_account_id::text, true);
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN coalesce(
        p_at, (SELECT clock_at FROM accounts WHERE id = p_account_id), clock_timestamp());
END;
$$;

CREATE OR REPLACE FUNCTION credit_lock_all(p_account_ids uuid[]) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_account_ids, ','), true);
    PERFORM 1 FROM credit_balances
    WHERE account_id = ANY (p_account_ids)
    ORDER BY account_id
    FOR NO KEY UPDATE;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_may_burn(
    p_lot_scope text, p_lot_is_paid boolean, p_scope text, p_paid_only boolean)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_lot_scope = p_scope, p_lot_scope IS NULL)
        AND (p_lot_is_paid OR NOT coalesce(p_paid_only, false))
$$;

CREATE OR REPLACE FUNCTION credit_notify_low() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    at timestamptz := coalesce(NEW.last_at, clock_timestamp());
BEGIN
    PERFORM set_config('app.accounts', NEW.account_id::text, true);
    IF NEW.balance < NEW.low_below AND OLD.balance >= NEW.low_below THEN
        PERFORM credit_publish(
            NEW.account_id, 'credits.low',
            jsonb_build_object(
                'balance', public_decimal(NEW.balance),
                'threshold', public_decimal(NEW.low_below)), at);
    END IF;
    IF NEW.balance = 0 AND OLD.balance > 0 THEN
        PERFORM credit_publish(NEW.account_id, 'credits.empty', '{}', at);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
    RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER credit_low
    AFTER UPDATE OF balance ON credit_balances
    FOR EACH ROW
    WHEN (NEW.balance < OLD.balance AND (NEW.balance = 0
        OR NEW.balance < NEW.low_below AND OLD.balance >= NEW.low_below))
    EXECUTE FUNCTION credit_notify_low();

CREATE OR REPLACE FUNCTION credit_open(p_account_id uuid, p_at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
    as_of timestamptz := credit_lock(p_account_id, p_at);
BEGIN
    PERFORM 1 FROM credit_balances
    WHERE account_id = p_account_id AND next_expiry <= as_of;
    IF FOUND THEN
        PERFORM credit_settle(p_account_id, as_of);
    END IF;
    RETURN as_of;
END;
$$;

CREATE OR REPLACE FUNCTION credit_pick_at_hand(
    p_lots refcursor, INOUT at_hand credit_free_lot[], p_item credit_debit_item, p_room numeric,
    OUT parts credit_part[], OUT need numeric)
LANGUAGE plpgsql AS $$
DECLARE
    lot credit_free_lot;
    pick integer := 1;
    picks integer[] := '{}';
BEGIN
    need := p_item.amount;
    parts := '{}';
    WHILE need > 0 LOOP
        IF pick > cardinality(at_hand) THEN
            FETCH p_lots INTO lot;
            EXIT WHEN NOT FOUND;
            at_hand := at_hand || lot;
        END IF;
        lot := at_hand[pick];
        IF lot.free > 0
            AND credit_may_burn(lot.scope, lot.is_paid, p_item.scope, p_item.paid_only)
        THEN
            picks := picks || pick;
            parts := parts || ROW(lot.id, least(need, lot.free))::credit_part;
            need := need - least(need, lot.free);
        END IF;
        pick := pick + 1;
    END LOOP;
    IF need > p_room THEN
        RETURN;
    END IF;
    FOR nth IN 1 .. cardinality(picks) LOOP
        at_hand[picks[nth]].free := at_hand[picks[nth]].free - parts[nth].amount;
    END LOOP;
    WHILE at_hand[1].free = 0 LOOP
        at_hand := at_hand[2:];
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION credit_pick_lots(
    p_account_id uuid, p_amount numeric, p_scope text, p_paid_only boolean)
RETURNS credit_part[]
LANGUAGE plpgsql AS $$
DECLARE
    lot record;
    part credit_part;
    parts credit_part[] := '{}';
    need numeric := p_amount;
BEGIN
    FOR lot IN
        SELECT l.id, l.free FROM credit_burn_order(p_account_id) AS l
        WHERE credit_may_burn(l.scope, l.is_paid, p_scope, p_paid_only)
    LOOP
        part.lot_id := lot.id;
        part.amount := least(need, lot.free);
        parts := parts || part;
        need := need - part.amount;
        EXIT WHEN need = 0;
    END LOOP;
    RETURN parts;
END;
$$;

CREATE OR REPLACE FUNCTION credit_post(p_posting credit_posting, p_parts credit_part[])
RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    total numeric := credit_sum(p_parts);
    spent numeric := CASE WHEN p_posting.kind IN ('debit', 'capture') THEN -total ELSE 0 END;
    -- A grant that pays what was owed: the balance and the debt go down together.
    owed numeric := CASE WHEN p_posting.kind = 'debt' THEN total ELSE 0 END;
    row_id uuid := uuidv7();
BEGIN
    UPDATE credit_lots AS l
    SET remaining = l.remaining + p.amount, is_open = l.remaining + p.amount > 0
    FROM unnest(p_parts) AS p
    WHERE l.id = p.lot_id;

    WITH moved AS (
        UPDATE credit_balances
        SET balance = balance + total, debt = debt + owed, used = used + spent, seq = seq + 1,
            last_at = greatest(last_at, p_posting.at)
        WHERE account_id = p_posting.account_id
        RETURNING balance, used, seq, last_at
    )
    INSERT INTO credit_transactions (
        id, account_id, seq, kind, amount, debt, balance_after, used_after, key, request_hash,
        reason, subject, detail, at, real_at)
    SELECT
        row_id, p_posting.account_id, m.seq, p_posting.kind, total, owed, m.balance, m.used,
        p_posting.key, p_posting.hash, p_posting.reason, p_posting.subject,
        coalesce(p_posting.detail, '{}'), m.last_at, clock_timestamp()
    FROM moved AS m;

    INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
    SELECT row_id, p.lot_id, p_posting.account_id, p.amount FROM unnest(p_parts) AS p;
    RETURN row_id;
END;
$$;

CREATE OR REPLACE FUNCTION credit_publish(
    p_account_id uuid, p_type text, p_data jsonb, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH numbered AS (
        UPDATE credit_balances SET event_seq = event_seq + 1
        WHERE account_id = p_account_id
        RETURNING event_seq
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT
        uuidv7(), p_account_id, event_seq, 'evt.billing.' || p_type,
        jsonb_build_object('account_id', public_id('acc', p_account_id)) || p_data,
        p_at, clock_timestamp()
    FROM numbered;
END;
$$;

CREATE OR REPLACE FUNCTION credit_release(
    p_account_id uuid, p_hold_id uuid, p_at timestamptz DEFAULT NULL,
    OUT verdict text, OUT hold_id uuid, OUT released numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    known record;
BEGIN
    SELECT h.status, h.amount INTO known
    FROM credit_holds AS h WHERE h.id = p_hold_id AND h.account_id = p_account_id;
    hold_id := p_hold_id;
    released := known.amount;
    verdict := credit_hold_verdict(as_of, known.status, known.status = 'released');
    IF verdict = 'ok' THEN
        PERFORM credit_release_lots(p_account_id, p_hold_id, 0, as_of);
        UPDATE credit_holds AS h SET status = 'released', resolved_at = as_of
        WHERE h.id = p_hold_id;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_release_lots(
    p_account_id uuid, p_hold_id uuid, p_keep numeric, p_at timestamptz)
RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    part record;
    lot record;
    key text;
    claim numeric;
    expired numeric := 0;
BEGIN
    FOR part IN
        SELECT h.lot_id, least(h.amount, h.reach - p_keep) AS amount
        FROM (
            SELECT lot_id, position, amount, sum(amount) OVER (ORDER BY position) AS reach
            FROM credit_hold_lots
            WHERE hold_id = p_hold_id) AS h
        WHERE h.reach > p_keep
        ORDER BY h.position
    LOOP
        key := public_id('hld', p_hold_id) || '/' || public_id('lot', part.lot_id);
        SELECT l.claimed, l.expires_at INTO lot FROM credit_lots AS l WHERE l.id = part.lot_id;
        claim := least(lot.claimed, part.amount);
        UPDATE credit_lots
        SET held = held - part.amount, claimed = claimed - claim, clawed = clawed + claim
        WHERE id = part.lot_id;
        UPDATE credit_balances SET held = held - part.amount WHERE account_id = p_account_id;
        IF claim > 0 THEN
            PERFORM credit_post(
                ROW(p_account_id, 'clawback', key || '/clawback', NULL, 'released',
                    public_id('hld', p_hold_id), NULL, p_at),
                ARRAY[ROW(part.lot_id, -claim)::credit_part]);
        END IF;
        IF lot.expires_at <= p_at AND part.amount > claim THEN
            PERFORM credit_expire_part(
                p_account_id, part.lot_id, part.amount - claim, key || '/expire', p_at, 'released');
            expired := expired + part.amount - claim;
        END IF;
    END LOOP;
    RETURN expired;
END;
$$;

CREATE OR REPLACE FUNCTION credit_settle(
    p_account_id uuid, p_at timestamptz, OUT credits numeric, OUT holds integer)
LANGUAGE plpgsql AS $$
DECLARE
    due record;
BEGIN
    credits := 0;
    holds := 0;
    FOR due IN
        SELECT 'hold' AS what, id, expires_at, amount
        FROM credit_holds
        WHERE account_id = p_account_id AND status = 'open' AND expires_at <= p_at
        UNION ALL
        SELECT 'lot', id, expires_at, NULL
        FROM credit_lots
        WHERE account_id = p_account_id AND is_open AND expires_at <= p_at
        ORDER BY expires_at, what, id
    LOOP
        IF due.what = 'hold' THEN
            credits := credits + credit_release_lots(p_account_id, due.id, 0, due.expires_at);
            holds := holds + 1;
            UPDATE credit_holds SET status = 'expired', resolved_at = due.expires_at
            WHERE id = due.id;
            PERFORM credit_publish(
                p_account_id, 'credits.hold_expired',
                jsonb_build_object(
                    'hold_id', public_id('hld', due.id), 'credits', public_decimal(due.amount)),
                due.expires_at);
        ELSE
            credits := credits
                + credit_expire_unspent(p_account_id, due.id, due.expires_at, 'expired');
        END IF;
    END LOOP;
    UPDATE credit_balances
    SET next_expiry = least(
        (SELECT min(expires_at) FROM credit_lots
         WHERE account_id = p_account_id AND is_open AND expires_at > p_at),
        (SELECT min(expires_at) FROM credit_holds
         WHERE account_id = p_account_id AND status = 'open' AND expires_at > p_at))
    WHERE account_id = p_account_id;
END;
$$;

CREATE OR REPLACE FUNCTION credit_spend_held(
    p_hold_id uuid, p_amount numeric, p_posting credit_posting)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    parts credit_part[] := ARRAY(
        SELECT ROW(h.lot_id, least(h.amount, p_amount - h.before))::credit_part
        FROM (
            SELECT lot_id, position, amount,
                sum(amount) OVER (ORDER BY position) - amount AS before
            FROM credit_hold_lots
            WHERE hold_id = p_hold_id) AS h
        WHERE h.before < p_amount
        ORDER BY h.position);
BEGIN
    UPDATE credit_balances SET held = held - p_amount WHERE account_id = p_posting.account_id;
    UPDATE credit_lots AS l
    SET held = l.held - p.amount,
        claimed = least(l.claimed, l.held - p.amount),
        lost = l.lost + greatest(l.claimed - (l.held - p.amount), 0)
    FROM unnest(parts) AS p
    WHERE l.id = p.lot_id;
    PERFORM credit_post(
        p_posting, ARRAY(SELECT ROW(p.lot_id, -p.amount)::credit_part FROM unnest(parts) AS p));
END;
$$;

CREATE OR REPLACE FUNCTION credit_sum(p_parts credit_part[]) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(sum(p.amount), 0) FROM unnest(p_parts) AS p
$$;

CREATE OR REPLACE FUNCTION credit_verdict(
    p_as_of timestamptz, p_is_used boolean, p_is_same boolean)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_as_of IS NULL THEN 'no_account'
        WHEN p_is_used AND p_is_same THEN 'duplicate'
        WHEN p_is_used THEN 'conflict'
        ELSE 'ok'
    END
$$;

CREATE OR REPLACE FUNCTION credit_wants_top_up(p_account credit_balances, p_at timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_account.top_up_below > p_account.balance - p_account.held, false)
        AND NOT p_account.top_up_open
        AND coalesce(p_account.top_up_from <= p_at, true)
$$;

CREATE OR REPLACE FUNCTION account_watch(
    p_account_id uuid, p_due timestamptz, p_at timestamptz, p_correlation_id text DEFAULT NULL)
RETURNS SETOF matters
LANGUAGE plpgsql AS $$
DECLARE
    name text := 'account/' || public_id('acc', p_account_id);
    rests boolean := p_due - p_at > interval '1 day';
BEGIN
    INSERT INTO matters AS m (
        workflow_id, account_id, kind, subject_id, next_due, status, correlation_id, created_at,
        woken_at)
    VALUES (
        name, p_account_id, 'account', p_account_id, p_due,
        CASE WHEN rests THEN 'resting' ELSE 'open' END, p_correlation_id, p_at, clock_timestamp())
    ON CONFLICT (workflow_id) DO UPDATE
    SET revision = m.revision + 1, next_due = p_due, next_step = NULL, next_key = NULL,
        woken_at = excluded.woken_at, started_at = NULL, closed_at = NULL,
        status = CASE
            WHEN m.status = 'halted' THEN 'halted'
            WHEN rests AND m.status <> 'open' THEN 'resting'
            ELSE 'open'
        END
    WHERE m.closed_at IS NOT NULL OR m.next_due IS NULL OR m.next_due > p_due;
    RETURN QUERY SELECT m.* FROM matters AS m WHERE m.workflow_id = name;
END;
$$;

CREATE OR REPLACE FUNCTION budget_is_exceeded(p_records usage_rated[], p_account usage_account)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_or(u.amount > 0 AND u.amount + budget_used(
        b.account_id, b.measure, b.meter, b.window_kind, w.begins, w.ends) > b.limit_amount), false)
    FROM budgets AS b
    CROSS JOIN LATERAL budget_window(
        b.window_kind, p_account.zone, p_account.start_at, p_account.as_of) AS w
    CROSS JOIN LATERAL (
        SELECT sum(CASE b.measure
            WHEN 'meter' THEN CASE WHEN r.meter = b.meter
                THEN r.included_units + r.charged_units END
            WHEN 'credits' THEN CASE WHEN r.currency = 'CREDIT' THEN r.total_amount END
            ELSE CASE WHEN r.currency <> 'CREDIT' AND r.billing_method <> 'payment_charge'
                THEN r.total_amount END END)
        FROM unnest(p_records) AS r
        WHERE r.account_id = p_account.account_id AND r.failure IS NULL AND NOT r.is_late
            AND (b.window_kind = 'cycle' OR (r.day_at >= w.begins AND r.day_at < w.ends))
    ) AS u(amount)
    WHERE b.account_id = p_account.account_id AND b.is_blocking
$$;

CREATE OR REPLACE FUNCTION budget_notify(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    budget record;
BEGIN
    FOR budget IN
        SELECT b.id, b.measure, b.meter, b.limit_amount, w.begins, u.used, t.percent
        FROM budgets AS b
        CROSS JOIN LATERAL budget_window(b.window_kind, p_zone, p_period_start, p_at) AS w
        CROSS JOIN LATERAL (SELECT budget_used(
            b.account_id, b.measure, b.meter, b.window_kind, w.begins, w.ends) OFFSET 0) AS u(used)
        CROSS JOIN LATERAL unnest(b.alert_percents) AS t(percent)
        WHERE b.account_id = p_account_id AND u.used > 0
            AND u.used * 100 >= b.limit_amount * t.percent
        ORDER BY b.id, t.percent
    LOOP
        PERFORM usage_notify_threshold(
            p_account_id,
            ROW('budget ' || public_id('bud', budget.id),
                CASE budget.measure WHEN 'meter' THEN budget.meter ELSE budget.measure END, '',
                budget.percent, budget.begins, budget.limit_amount,
                budget.used)::usage_threshold_alert,
            p_at, 'evt.billing.usage.budget_reached');
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION budget_used(
    p_account_id uuid, p_measure text, p_meter text, p_window text, p_begins timestamptz,
    p_ends timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    -- Days also count what a card pays at once; that is on no invoice to come. A cycle is its own
    -- days, a month those that begin in it.
    SELECT coalesce(sum(CASE p_measure WHEN 'meter' THEN quantity WHEN 'credits' THEN credits
        ELSE CASE WHEN split_part(facet, '|', 2) <> 'payment_charge' THEN overage_total END
        END), 0)
    FROM usage_counters
    WHERE account_id = p_account_id AND owner = ''
        AND grain = 'day'
        AND period_start >= CASE p_window WHEN 'cycle' THEN p_begins ELSE '-infinity' END
        AND period_start <= CASE p_window WHEN 'cycle' THEN p_begins ELSE 'infinity' END
        AND bucket >= CASE p_window WHEN 'cycle' THEN '-infinity' ELSE p_begins END
        AND bucket < p_ends
        AND (p_measure <> 'meter' OR meter = p_meter)
$$;

CREATE OR REPLACE FUNCTION budget_window(
    p_window text, p_zone text, p_period_start timestamptz, p_at timestamptz,
    OUT begins timestamptz, OUT ends timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT
        CASE p_window WHEN 'cycle' THEN p_period_start ELSE m.start_at END,
        CASE p_window WHEN 'cycle' THEN 'infinity' ELSE m.end_at END
    FROM usage_month(p_zone, p_at) AS m
$$;

CREATE OR REPLACE FUNCTION quota_added(
    p_quota billing_quotas, p_use quota_use, p_claim quota_claims)
RETURNS TABLE (added numeric, added_before numeric)
LANGUAGE sql STABLE AS $$
    SELECT u.amount - c.now - least(u.amount, c.before), least(u.amount, c.before) - c.before
    FROM (
        SELECT CASE WHEN p_use.meter = p_quota.meter
            AND p_quota.owner IN ('', 'u:' || p_use.user_id, 'o:' || p_use.organization_id)
            THEN p_use.amount ELSE 0 END AS amount) AS u
    CROSS JOIN (
        SELECT
            CASE WHEN there AND p_claim.claimed_at >= p_quota.window_start
                THEN p_claim.amount ELSE 0 END AS now,
            CASE WHEN there AND p_claim.claimed_at < p_quota.window_start
                AND p_claim.claimed_at >= p_quota.window_start
                    - make_interval(secs => p_quota.span_seconds)
                THEN p_claim.amount ELSE 0 END AS before
        FROM (
            SELECT p_claim.meter = p_quota.meter AND p_quota.owner IN (
                '', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id) AS there) AS m) AS c
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

CREATE OR REPLACE FUNCTION quota_allows(
    p_account_id uuid, p_claim quota_claim_input, p_lim jsonb, p_period_start timestamptz,
    p_at timestamptz)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT NOT EXISTS (
        SELECT 1 FROM billing_quotas
        WHERE account_id = p_account_id AND meter = p_claim.meter AND is_hard
            AND owner IN ('', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id)
            AND quota_used(used, used_before, span_seconds, window_start, p_at) + p_claim.amount
                > limit_amount)
        AND (p_lim IS NULL OR p_lim ->> 'then' <> 'block'
            OR p_claim.amount <= (p_lim ->> 'included')::numeric
                - coalesce((
                    SELECT quantity FROM usage_cycles
                    WHERE account_id = p_account_id AND owner = ''
                        AND period_start = p_period_start AND meter = p_claim.meter), 0)
                - coalesce((
                    SELECT sum(amount) FROM quota_claims
                    WHERE account_id = p_account_id AND status = 'open'
                        AND meter = p_claim.meter), 0))
$$;

CREATE OR REPLACE FUNCTION quota_claim_fast(
    p_account_id uuid, p_claim quota_claim_input, p_real_at timestamptz)
RETURNS boolean
LANGUAGE sql AS $$
    UPDATE billing_quotas SET used = used + p_claim.amount, updated_at = p_real_at
    WHERE account_id = p_account_id AND meter = p_claim.meter
        AND owner IN ('', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id)
        AND plain_until > p_real_at AND window_start <= p_real_at
        AND used + p_claim.amount < plain_below
    RETURNING true
$$;

CREATE OR REPLACE FUNCTION quota_claim_use(
    p_account_id uuid, p_claim quota_claim_input, p_real_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    as_of timestamptz := coalesce(
        (SELECT clock_at FROM accounts WHERE id = p_account_id), p_real_at);
    period record;
    allowed boolean;
BEGIN
    IF p_claim.amount <= 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'nothing is claimed';
    END IF;
    PERFORM usage_open_period(p_account_id, as_of);
    SELECT p.id, p.zone, p.start_at, p.limits -> p_claim.meter AS lim INTO period
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    PERFORM quota_roll_windows(p_account_id, period.zone, period.start_at, as_of);
    -- It is counted in the windows that are open, also where another clock began them.
    as_of := greatest(as_of, (
        SELECT max(window_start) FROM billing_quotas WHERE account_id = p_account_id));
    allowed := EXISTS (SELECT 1 FROM quota_claims WHERE id = p_claim.id AND status <> 'expired')
        OR EXISTS (SELECT 1 FROM billing_records WHERE id = p_claim.id);
    IF NOT allowed THEN
        allowed := quota_allows(p_account_id, p_claim, period.lim, period.start_at, as_of);
        IF allowed THEN
            PERFORM quota_count(
                p_account_id,
                ARRAY[ROW(p_claim.id, p_claim.user_id, p_claim.organization_id, p_claim.meter,
                    p_claim.amount)::quota_use],
                as_of);
            INSERT INTO quota_claims (
                id, account_id, event_id, user_id, organization_id, meter, amount, claimed_at,
                expires_at, status)
            VALUES (p_claim.id, p_account_id, p_claim.event_id, p_claim.user_id,
                p_claim.organization_id, p_claim.meter, p_claim.amount, as_of,
                as_of + p_claim.lifetime, 'open')
            ON CONFLICT (id) DO UPDATE SET
                amount = excluded.amount, claimed_at = excluded.claimed_at,
                user_id = excluded.user_id, organization_id = excluded.organization_id,
                meter = excluded.meter, expires_at = excluded.expires_at, status = 'open';
        END IF;
    END IF;
    PERFORM quota_allow_fast(p_account_id, p_claim, period.id);
    RETURN allowed;
END;
$$;

CREATE OR REPLACE FUNCTION quota_count(p_account_id uuid, p_uses quota_use[], p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    quota record;
    percent integer;
BEGIN
    FOR quota IN
        WITH uses AS MATERIALIZED (
            SELECT u AS use, c.claim
            FROM unnest(p_uses) AS u
            LEFT JOIN LATERAL (
                SELECT k AS claim FROM quota_claims AS k
                WHERE k.id = u.id AND k.status = 'open' LIMIT 1) AS c ON true
        ), sums AS (
            SELECT q.id, sum(r.added) AS added, sum(r.added_before) AS added_before
            FROM billing_quotas AS q CROSS JOIN uses AS u
            CROSS JOIN LATERAL quota_added(q, u.use, u.claim) AS r
            WHERE q.account_id = p_account_id
            GROUP BY q.id
        )
        UPDATE billing_quotas AS q
        SET used = greatest(0, q.used + s.added),
            used_before = greatest(0, q.used_before + s.added_before), updated_at = p_at
        FROM sums AS s
        WHERE q.account_id = p_account_id AND q.id = s.id
            AND (s.added <> 0 OR s.added_before <> 0)
        RETURNING q.id, q.meter, q.owner, q.limit_amount, q.alert_percents, q.window_start,
            quota_used(old.used, old.used_before, q.span_seconds, q.window_start, p_at) AS was,
            quota_used(new.used, new.used_before, q.span_seconds, q.window_start, p_at) AS used
    LOOP
        FOREACH percent IN ARRAY quota.alert_percents LOOP
            IF quota.was * 100 < quota.limit_amount * percent
                AND quota.used * 100 >= quota.limit_amount * percent
            THEN
                PERFORM usage_notify_threshold(
                    p_account_id,
                    ROW('quota ' || quota.id, quota.meter, quota.owner, percent,
                        quota.window_start, quota.limit_amount, quota.used)::usage_threshold_alert,
                    p_at);
            END IF;
        END LOOP;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION quota_counted(
    p_account_id uuid, p_quota quota_input, p_begins timestamptz,
    OUT used numeric, OUT used_before numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT
        coalesce(sum(amount) FILTER (WHERE claimed_at >= p_begins), 0) + CASE
            WHEN p_quota.window_kind = 'rolling' THEN 0 ELSE (
                SELECT coalesce(sum(quantity), 0) FROM usage_counters
                WHERE account_id = p_account_id AND owner = p_quota.owner
                    AND meter = p_quota.meter AND grain = 'day'
                    AND period_start >= CASE p_quota.window_kind
                        WHEN 'cycle' THEN p_begins ELSE '-infinity' END
                    AND bucket >= CASE p_quota.window_kind
                        WHEN 'cycle' THEN '-infinity' ELSE p_begins END) END,
        coalesce(sum(amount) FILTER (WHERE claimed_at < p_begins), 0)
    FROM quota_claims
    WHERE account_id = p_account_id AND status = 'open' AND meter = p_quota.meter
        AND p_quota.owner IN ('', 'u:' || user_id, 'o:' || organization_id)
        AND claimed_at >= p_begins - make_interval(secs => coalesce(p_quota.span_seconds, 0))
$$;

CREATE OR REPLACE FUNCTION quota_is_exceeded(
    p_records usage_rated[], p_account_id uuid, p_at timestamptz)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH uses AS MATERIALIZED (
        SELECT c.claim,
            ROW((r.use).id, (r.use).user_id, (r.use).organization_id, r.meter,
                r.included_units + r.charged_units)::quota_use AS use
        FROM unnest(p_records) AS r
        LEFT JOIN LATERAL (
            SELECT k AS claim FROM quota_claims AS k
            WHERE k.id = (r.use).id AND k.status = 'open' LIMIT 1) AS c ON true
        WHERE r.failure IS NULL AND NOT r.is_late
    )
    SELECT coalesce(bool_or(a.amount > 0 AND a.amount
        + quota_used(q.used, q.used_before, q.span_seconds, q.window_start, p_at)
            > q.limit_amount), false)
    FROM billing_quotas AS q CROSS JOIN LATERAL (
        -- What one row gives back is not there yet for the rows before it.
        SELECT sum(greatest(0, r.added))
        FROM uses AS u CROSS JOIN LATERAL quota_added(q, u.use, u.claim) AS r) AS a(amount)
    WHERE q.account_id = p_account_id AND q.is_hard
$$;

CREATE OR REPLACE FUNCTION quota_reserved(
    p_account_id uuid, p_meter text, p_at timestamptz, p_but uuid[])
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(amount), 0) FROM quota_claims
    WHERE account_id = p_account_id AND status = 'open' AND meter = p_meter
        AND expires_at > p_at AND id <> ALL (p_but)
$$;

CREATE OR REPLACE FUNCTION quota_roll_windows(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    expired quota_use[];
    quota record;
BEGIN
    PERFORM 1 FROM billing_quotas WHERE account_id = p_account_id FOR NO KEY UPDATE;
    expired := ARRAY(
        SELECT ROW(id, NULL, NULL, NULL, NULL)::quota_use FROM quota_claims
        WHERE account_id = p_account_id AND status = 'open' AND expires_at <= p_at);
    IF cardinality(expired) > 0 THEN
        PERFORM quota_count(p_account_id, expired, p_at);
        UPDATE quota_claims SET status = 'expired'
        WHERE id = ANY (ARRAY(SELECT id FROM unnest(expired)));
    END IF;
    FOR quota IN
        SELECT id, used, window_start, span_seconds,
            quota_window(window_kind, span_seconds, p_zone, p_period_start, p_at) AS begins
        FROM billing_quotas WHERE account_id = p_account_id
    LOOP
        IF quota.begins > quota.window_start THEN
            UPDATE billing_quotas
            SET window_start = quota.begins, plain_until = NULL, used = 0, used_before = CASE
                WHEN quota.begins = quota.window_start + make_interval(secs => quota.span_seconds)
                    THEN quota.used ELSE 0 END
            WHERE id = quota.id;
        END IF;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION quota_set(p_account_id uuid, p_quota quota_input, p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    period record;
    begins timestamptz;
    counted record;
    written uuid;
BEGIN
    IF p_quota.limit_amount < 0 OR p_quota.span_seconds <= 0
        OR p_quota.window_kind NOT IN ('day', 'month', 'cycle', 'rolling')
        OR (p_quota.window_kind = 'rolling') <> (p_quota.span_seconds IS NOT NULL)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'there is no such quota';
    END IF;
    PERFORM usage_open_period(p_account_id, p_at);
    SELECT p.zone, p.start_at INTO period
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    PERFORM quota_roll_windows(p_account_id, period.zone, period.start_at, p_at);
    begins := quota_window(
        p_quota.window_kind, p_quota.span_seconds, period.zone, period.start_at, p_at);
    -- Claims whose use is recorded: without a quota nobody closed them.
    UPDATE quota_claims AS c SET status = 'settled'
    WHERE account_id = p_account_id AND status = 'open'
        AND EXISTS (SELECT 1 FROM billing_records WHERE id = c.id);
    counted := quota_counted(p_account_id, p_quota, begins);
    UPDATE billing_quotas SET plain_until = NULL
    WHERE account_id = p_account_id AND meter = p_quota.meter AND plain_until IS NOT NULL;
    INSERT INTO billing_quotas AS q (
        id, account_id, owner, meter, window_kind, span_seconds, limit_amount, is_hard,
        alert_percents, window_start, used, used_before, created_at, updated_at)
    VALUES (uuidv7(), p_account_id, p_quota.owner, p_quota.meter, p_quota.window_kind,
        p_quota.span_seconds, p_quota.limit_amount, p_quota.is_hard, p_quota.alert_percents,
        begins, counted.used, counted.used_before, p_at, p_at)
    ON CONFLICT (account_id, meter, owner, window_kind) DO UPDATE SET
        span_seconds = excluded.span_seconds, limit_amount = excluded.limit_amount,
        is_hard = excluded.is_hard, alert_percents = excluded.alert_percents,
        updated_at = excluded.updated_at, plain_until = NULL,
        -- Another span is another window.
        window_start = CASE WHEN q.span_seconds IS DISTINCT FROM excluded.span_seconds
            THEN excluded.window_start ELSE q.window_start END
    RETURNING q.id INTO written;
    RETURN written;
END;
$$;

CREATE OR REPLACE FUNCTION quota_used(
    p_used numeric, p_before numeric, p_span integer, p_window_start timestamptz,
    p_at timestamptz)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN p_span IS NULL OR p_before = 0 THEN p_used
        ELSE p_used + round(p_before * greatest(0, 1 - (extract(epoch FROM p_at)
            - extract(epoch FROM p_window_start)) / p_span), 12)
    END
$$;

CREATE OR REPLACE FUNCTION quota_window(
    p_kind text, p_span integer, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE p_kind
        WHEN 'cycle' THEN p_period_start
        WHEN 'rolling' THEN to_timestamp(div(extract(epoch FROM p_at), p_span) * p_span)
        ELSE date_trunc(p_kind, p_at, p_zone)
    END
$$;

CREATE OR REPLACE FUNCTION usage_add_counters(p_sums usage_counter_sum[])
RETURNS SETOF usage_growth
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    WITH added AS (
        INSERT INTO usage_counters AS c (
            account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total)
        SELECT account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total
        FROM unnest(p_sums)
        ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
            quantity = c.quantity + excluded.quantity,
            events = c.events + excluded.events,
            maximum = greatest(c.maximum, excluded.maximum),
            last_value = CASE WHEN excluded.last_at >= c.last_at
                THEN excluded.last_value ELSE c.last_value END,
            last_at = greatest(c.last_at, excluded.last_at),
            credits = c.credits + excluded.credits,
            overage = c.overage + excluded.overage,
            overage_total = c.overage_total + excluded.overage_total
        RETURNING c.account_id, c.owner, c.grain, c.period_start, c.meter,
            new.quantity - coalesce(old.quantity, 0) AS added
    )
    SELECT account_id, period_start, meter, sum(added)
    FROM added
    WHERE owner = '' AND grain = 'day'
    GROUP BY account_id, period_start, meter
$$;

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

CREATE OR REPLACE FUNCTION usage_allotted(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS TABLE (
    use usage_input, kind usage_metered, account_id uuid, as_of timestamptz, used_at timestamptz,
    is_late boolean, period_start timestamptz, zone text, lim jsonb, money text, paid_in text,
    price usage_price, refusal text, included numeric, rest numeric, by_plan boolean,
    is_graded boolean)
LANGUAGE sql STABLE AS $$
    WITH priced AS MATERIALIZED (
        SELECT p AS row, (p.use).place, (p.use).account, (p.use).amount, (p.kind).meter,
            (p.kind).counts, p.account_id, p.period_start, p.lim, p.refusal
        FROM usage_priced(p_accounts, p_kinds, p_uses) AS p
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
            p.row, p.place, p.account, p.meter, p.period_start, p.lim,
            coalesce(c.quantity, 0) + CASE
                -- What a plan that blocks has left is not for others where it was claimed
                -- beforehand; claims of these uses themselves are counted as the uses are.
                WHEN p.lim ->> 'then' = 'block' THEN quota_reserved(
                    p.account_id, p.meter, (p.row).as_of,
                    ARRAY(SELECT id FROM unnest(p_uses) WHERE place <= p.place))
                ELSE 0 END AS quantity_before,
            CASE
                WHEN p.refusal IS NOT NULL THEN 0
                WHEN p.counts = 'sum' THEN p.amount
                WHEN p.counts = 'count' THEN 1
                -- Of a level only what rises above its highest.
                ELSE greatest(0, p.amount - greatest(coalesce(c.maximum, 0), coalesce(
                    max(p.amount) FILTER (WHERE p.refusal IS NULL) OVER (
                        PARTITION BY p.account, p.meter, p.period_start ORDER BY p.place
                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)))
            END AS delta
        FROM priced AS p
        LEFT JOIN used AS c
            ON c.account = p.account AND c.period_start = p.period_start AND c.meter = p.meter
    )
    SELECT (c.row).*, x.included, c.delta - x.included,
        c.lim IS NOT NULL AND coalesce(((c.row).kind).method, 'subscription_included')
            = 'subscription_included',
        ((c.row).price).model <> 'per_unit' OR ((c.row).price).free_units > 0
    FROM (
        SELECT counted.*, quantity_before + sum(delta) OVER (
            PARTITION BY account, meter, period_start ORDER BY place) - delta AS used_before
        FROM counted) AS c
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.lim IS NULL THEN 0 ELSE least(c.delta,
            greatest(0, (c.lim ->> 'included')::numeric - c.used_before)) END
        OFFSET 0) AS x(included)
$$;

CREATE OR REPLACE FUNCTION usage_answer_of(p_record usage_rated) RETURNS SETOF usage_answer
LANGUAGE sql STABLE AS $$
    SELECT (p_record.use).place, coalesce(p_record.failure, 'recorded'), (p_record.use).id,
        p_record.meter, p_record.unit_price, p_record.total_amount, p_record.currency,
        p_record.billing_method, p_record.billing_status, p_record.is_free_tier,
        p_record.charged_units = 0, p_record.total_amount, p_record.available
$$;

CREATE OR REPLACE FUNCTION usage_answers_fast(p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS SETOF usage_answer
LANGUAGE sql STABLE AS $$
    SELECT u.place, 'recorded', u.id, k.meter, k.unit_price, t.total, 'CREDIT', k.method,
        'completed', k.unit_price = 0 AND k.product_id IS NOT NULL, false, t.total, NULL::numeric
    FROM unnest(p_uses) AS u
    JOIN unnest(p_kinds) AS k ON k.kind = u.kind
    CROSS JOIN LATERAL (
        SELECT usage_charge_units(u.amount, k.unit_price, 'CREDIT')) AS t(total)
$$;

CREATE OR REPLACE FUNCTION usage_bill_line(
    p_account_id uuid, p_line usage_line, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    at_once CONSTANT integer := 5000; -- one transaction holds the account's lock meanwhile
    bundle record;
BEGIN
    FOR bundle IN
        SELECT part::integer AS part, array_agg(id) AS records FROM (
            SELECT id, (row_number() OVER (ORDER BY occurred_at) - 1) / at_once AS part
            FROM billing_records
            WHERE account_id = p_account_id
                -- A use may be reported a little ahead of its time; clocks differ a little.
                AND occurred_at >= p_line.start_at - interval '5 minutes'
                AND occurred_at < p_line.end_at + interval '5 minutes'
                AND period_start = p_line.start_at AND meter = p_line.meter
                AND currency = p_line.currency
                AND billing_method = 'subscription_included' AND billing_status = 'pending'
                -- What an early invoice bills may still be listed when the cycle closes.
                AND id NOT IN (
                    SELECT unnest(records) FROM usage_settlements
                    WHERE account_id = p_account_id)) AS r
        GROUP BY 1 ORDER BY 1
    LOOP
        IF bundle.part = 0 THEN
            PERFORM usage_complete(p_account_id, bundle.records, p_line.invoice, p_at);
        ELSE
            INSERT INTO usage_settlements (
                account_id, invoice, meter, start_at, part, records, began_at)
            VALUES (p_account_id, p_line.invoice, p_line.meter, p_line.start_at, bundle.part,
                bundle.records, p_at);
        END IF;
    END LOOP;

    INSERT INTO billing_records (
        id, account_id, request_hash, meter, usage_amount, included_units, charged_units,
        unit_price, total_amount, currency, billing_method, billing_status, is_free_tier, is_late,
        detail, period_start, day_at, occurred_at, created_at, updated_at, kind)
    SELECT
        uuidv7(), p_account_id, 0, p_line.meter, 0, 0, 0, 0, p_line.true_up, p_line.currency,
        'subscription_included', 'completed', false, false,
        jsonb_build_object('invoice_id', p_line.invoice), p_line.start_at,
        date_trunc('day', p_at, p_line.zone), p_at, p_at, p_at, 'true_up'
    WHERE p_line.true_up <> 0;

    IF bundle.part > 0 THEN
        PERFORM account_watch(p_account_id, p_at, p_at);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_boundary(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min(b.at)
    FROM (
        SELECT
            CASE WHEN p_unit IN ('month', 'year') THEN 'month' ELSE 'day' END AS unit,
            p_count * CASE p_unit WHEN 'year' THEN 12 WHEN 'week' THEN 7 ELSE 1 END AS units,
            p_at AT TIME ZONE p_zone AS wall) AS s
    CROSS JOIN LATERAL (
        SELECT div(CASE s.unit
            WHEN 'month' THEN 12 * (extract(year FROM s.wall) - extract(year FROM p_anchor))
                + extract(month FROM s.wall) - extract(month FROM p_anchor)
            ELSE s.wall::date - p_anchor::date END, s.units)::integer AS number) AS near
    CROSS JOIN LATERAL (
        SELECT p_anchor + CASE s.unit WHEN 'month' THEN make_interval(months => n * s.units)
            ELSE make_interval(days => n * s.units) END AS wall
        FROM generate_series(greatest(1, near.number - 1), greatest(1, near.number + 2)) AS n
    ) AS w
    CROSS JOIN LATERAL (
        SELECT w.wall AT TIME ZONE p_zone AS at,
            (w.wall AT TIME ZONE p_zone - interval '3 hours') AS before) AS t
    CROSS JOIN LATERAL (
        -- By the offset that held before, if that shows this time at all.
        SELECT t.before + (w.wall - t.before AT TIME ZONE p_zone) AS at) AS early
    CROSS JOIN LATERAL (
        SELECT CASE WHEN early.at AT TIME ZONE p_zone = w.wall THEN early.at ELSE t.at END AS at
    ) AS b
    WHERE b.at > p_at
$$;

CREATE OR REPLACE FUNCTION usage_capture(INOUT p_records usage_rated[], p_hold_id uuid)
LANGUAGE plpgsql AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    due usage_rated := p_records[1];
BEGIN
    IF due.total_amount > 0 THEN
        p_records[1].transaction_id := (credit_capture_one(
            ROW(due.account_id, p_hold_id, due.total_amount,
                coalesce('usage: ' || (due.kind).product_id, 'usage'),
                jsonb_build_object(
                    'billing_id', public_id('bill', (due.use).id),
                    'product_id', (due.kind).product_id,
                    'usage_amount', public_decimal((due.use).amount)))::credit_capture_item,
            due.created_at)).transaction_id;
        p_records[1].billing_status := 'completed';
    ELSE
        PERFORM credit_release(due.account_id, p_hold_id, due.created_at);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION usage_charge(
    p_model text, p_unit_price numeric, p_package_size numeric, p_free_units numeric,
    p_tiers jsonb, p_before numeric, p_units numeric, p_paid numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_model = 'per_unit' AND p_free_units = 0
            THEN usage_charge_units(p_units, p_unit_price, 'CREDIT')
        WHEN p_model = 'volume'
            THEN greatest(0, usage_round(c.after, 'CREDIT') - greatest(
                usage_round(c.before, 'CREDIT'),
                -- At most what this price can have cost: they may have been dearer under another.
                least(p_paid, usage_round(
                    usage_highest(p_free_units, p_tiers, p_before), 'CREDIT'))))
        ELSE usage_round(greatest(0, c.after - c.before), 'CREDIT') END
    FROM (SELECT
        usage_cost(p_model, p_unit_price, p_package_size, p_free_units, p_tiers,
            p_before + p_units) AS after,
        usage_cost(p_model, p_unit_price, p_package_size, p_free_units, p_tiers,
            p_before) AS before) AS c
$$;

CREATE OR REPLACE FUNCTION usage_charge_units(
    p_units numeric, p_unit_price numeric, p_currency text)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT usage_round(p_units * p_unit_price, p_currency)
$$;

CREATE OR REPLACE FUNCTION usage_complete(
    p_account_id uuid, p_records uuid[], p_invoice text, p_at timestamptz)
RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    completed uuid[];
BEGIN
    WITH done AS (
        UPDATE billing_records
        SET billing_status = 'completed', updated_at = p_at
        WHERE id = ANY (p_records) AND account_id = p_account_id AND billing_status = 'pending'
        RETURNING id
    ), noted AS (
        INSERT INTO billing_events (
            id, account_id, billing_id, status_before, status_after, detail, at)
        SELECT uuidv7(), p_account_id, id, 'pending', 'completed',
            jsonb_build_object('invoice_id', p_invoice), p_at
        FROM done
    )
    SELECT array_agg(id) INTO completed FROM done;
    IF completed IS NOT NULL THEN
        PERFORM usage_move_facet(p_account_id, completed, 'subscription_included', 'pending');
    END IF;
    RETURN coalesce(cardinality(completed), 0);
END;
$$;

CREATE OR REPLACE FUNCTION usage_complete_part(p_account_id uuid, p_at timestamptz)
RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    next_part record;
BEGIN
    PERFORM 1 FROM credit_balances WHERE account_id = p_account_id FOR NO KEY UPDATE;
    DELETE FROM usage_settlements
    WHERE (account_id, invoice, meter, start_at, part) = (
        SELECT account_id, invoice, meter, start_at, part FROM usage_settlements
        WHERE account_id = p_account_id ORDER BY invoice, meter, start_at, part LIMIT 1)
    RETURNING records, invoice INTO next_part;
    RETURN usage_complete(p_account_id, next_part.records, next_part.invoice, p_at);
END;
$$;

CREATE OR REPLACE FUNCTION usage_cost(
    p_model text, p_unit_price numeric, p_package_size numeric, p_free_units numeric,
    p_tiers jsonb, p_units numeric)
RETURNS numeric
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    paid numeric := p_units - p_free_units;
    total numeric := 0;
    start numeric := 0;
    until numeric;
    tier jsonb;
BEGIN
    IF paid <= 0 THEN
        RETURN 0;
    ELSIF p_model = 'per_unit' THEN
        RETURN paid * p_unit_price;
    ELSIF p_model = 'flat' THEN
        RETURN p_unit_price;
    ELSIF p_model = 'package' THEN
        -- Whole packages, by exact division; a quotient would be rounded.
        RETURN (div(paid, p_package_size) + sign(mod(paid, p_package_size))) * p_unit_price;
    END IF;
    FOR tier IN SELECT value FROM jsonb_array_elements(p_tiers) LOOP
        until := coalesce((tier ->> 'up_to')::numeric, paid);
        IF p_model = 'graduated' THEN
            total := total + (tier ->> 'flat_price')::numeric
                + (least(until, paid) - start) * (tier ->> 'unit_price')::numeric;
        ELSIF paid <= until THEN
            total := (tier ->> 'flat_price')::numeric + paid * (tier ->> 'unit_price')::numeric;
        END IF;
        EXIT WHEN paid <= until;
        start := until;
    END LOOP;
    RETURN total;
END;
$$;

CREATE OR REPLACE FUNCTION usage_costed(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS TABLE (
    use usage_input, kind usage_metered, account_id uuid, as_of timestamptz, used_at timestamptz,
    is_late boolean, period_start timestamptz, zone text, lim jsonb, money text, paid_in text,
    price usage_price, refusal text, included numeric, rest numeric, by_plan boolean,
    is_graded boolean, total numeric)
LANGUAGE sql STABLE AS $$
    WITH allotted AS MATERIALIZED (
        SELECT a AS row, (a.use).place, (a.kind).product_id, (a.kind).meter, a.account_id,
            a.period_start, a.price, a.rest, a.by_plan, a.is_graded, a.refusal
        FROM usage_allotted(p_accounts, p_kinds, p_uses) AS a
    ), seen AS MATERIALIZED (
        -- What its product's tiers and free units have seen, and what that cost.
        SELECT n.account_id, n.period_start, n.product_id, n.meter, b.quantity, b.credits
        FROM (
            SELECT DISTINCT account_id, period_start, product_id, meter FROM allotted
            WHERE is_graded) AS n
        CROSS JOIN LATERAL (
            SELECT quantity, credits FROM usage_cycles
            WHERE account_id = n.account_id AND owner = 'p:' || n.product_id
                AND period_start = n.period_start AND meter = n.meter
            LIMIT 1) AS b
    ), reached AS (
        SELECT p.*, CASE WHEN (p.price).model = 'volume' AND NOT p.by_plan AND p.refusal IS NULL
            THEN usage_round(usage_cost((p.price).model, (p.price).unit_price,
                (p.price).package_size, (p.price).free_units, (p.price).tiers,
                p.units_before + p.rest), 'CREDIT') END AS cost_then
        FROM (
            SELECT a.*, b.credits AS cost_before,
                coalesce(b.quantity, 0) + sum(CASE WHEN a.by_plan THEN 0 ELSE a.rest END) OVER (
                    PARTITION BY a.account_id, a.product_id, a.period_start ORDER BY a.place)
                    - a.rest AS units_before
            FROM allotted AS a
            LEFT JOIN seen AS b
                ON a.is_graded AND b.account_id = a.account_id
                AND b.period_start = a.period_start AND b.product_id = a.product_id
                AND b.meter = a.meter) AS p
    )
    SELECT (r.row).*, CASE
        WHEN r.rest = 0 THEN 0
        WHEN r.by_plan THEN CASE (r.row).lim ->> 'then' WHEN 'overage'
            THEN usage_charge_units(r.rest, ((r.row).lim ->> 'price')::numeric, (r.row).money)
            ELSE 0 END
        WHEN r.product_id IS NULL OR r.refusal IS NOT NULL THEN 0
        WHEN NOT r.is_graded
            THEN usage_charge_units(r.rest, (r.price).unit_price, (r.row).paid_in)
        ELSE usage_charge((r.price).model, (r.price).unit_price, (r.price).package_size,
            (r.price).free_units, (r.price).tiers, r.units_before, r.rest,
            coalesce(greatest(r.cost_before, max(r.cost_then) OVER (
                PARTITION BY r.account_id, r.product_id, r.period_start ORDER BY r.place
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)), 0))
        END
    FROM reached AS r
$$;

CREATE OR REPLACE FUNCTION usage_count_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH detailed AS MATERIALIZED (
        SELECT EXISTS (SELECT FROM unnest(p_kinds) AS k
                WHERE k.is_hourly OR num_nonnulls(k.operation, k.model) > 0)
            OR EXISTS (SELECT FROM unnest(p_uses) AS u
                WHERE num_nonnulls(u.user_id, u.organization_id) > 0) AS yes
    ), sums AS MATERIALIZED (
        -- In the order of the index: neighbours are met one after the other.
        SELECT row_number() OVER (ORDER BY g.account_id) AS place, g.*
        FROM (
            SELECT o.* FROM usage_own_sums_fast(p_accounts, p_kinds, p_uses) AS o
            UNION ALL
            SELECT d.* FROM detailed CROSS JOIN LATERAL usage_detail_sums_fast(
                p_accounts, p_kinds, p_uses) AS d
            WHERE detailed.yes) AS g
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
    INSERT INTO usage_counters (
        account_id, owner, grain, period_start, bucket, meter, facet, quantity, events, maximum,
        last_value, last_at, credits, overage, overage_total)
    SELECT account_id, owner, grain, period_start, bucket, meter, facet, quantity, events, maximum,
        last_value, last_at, credits, overage, overage_total
    FROM sums
    WHERE place NOT IN (SELECT place FROM moved)
$$;

CREATE OR REPLACE FUNCTION usage_count_quotas(
    p_records usage_rated[], p_accounts usage_account[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    quoted uuid[] := ARRAY(SELECT account_id FROM unnest(p_accounts) WHERE has_quotas);
    one record;
BEGIN
    IF cardinality(quoted) > 0 THEN
        FOR one IN
            SELECT account_id, max(created_at) AS at, array_agg((use).id) AS ids,
                array_agg(ROW((use).id, (use).user_id, (use).organization_id, meter, CASE
                    WHEN is_late THEN 0 ELSE included_units + charged_units END)::quota_use)
                    AS uses
            FROM unnest(p_records)
            WHERE account_id = ANY (quoted)
            GROUP BY account_id
        LOOP
            PERFORM set_config('app.accounts', one.account_id::text, true);
            PERFORM quota_count(one.account_id, one.uses, one.at);
            UPDATE quota_claims SET status = 'settled'
            WHERE id = ANY (one.ids) AND status = 'open';
        END LOOP;
        PERFORM set_config('app.accounts', shown, true);
    END IF;
    IF EXISTS (SELECT FROM unnest(p_records) WHERE is_limited) THEN
        -- Of accounts without a quota too: a plan that blocks has set their part aside.
        UPDATE quota_claims SET status = 'settled'
        WHERE id = ANY (ARRAY(SELECT (use).id FROM unnest(p_records))) AND status = 'open';
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_counted(p_account_id uuid, p_since timestamptz)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    quantity numeric, events bigint, maximum numeric, last_value numeric, last_at timestamptz,
    credits numeric, overage numeric, overage_total numeric)
LANGUAGE sql STABLE AS $$
    SELECT
        c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet,
        sum(c.units), count(*), max(r.usage_amount),
        (array_agg(r.usage_amount ORDER BY r.occurred_at DESC))[1], max(r.occurred_at),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0),
        coalesce(sum(r.charged_units) FILTER (WHERE r.currency <> 'CREDIT'), 0),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
    FROM (SELECT usage_tiered_products(p_account_id) AS products,
        ARRAY(SELECT key FROM meters WHERE hourly) AS hourly OFFSET 0) AS t
    CROSS JOIN billing_records AS r
    CROSS JOIN LATERAL usage_counters_of(ROW(
        usage_facet(r.service_type, r.billing_method, r.billing_status, r.currency), r.user_id,
        r.organization_id, r.operation, r.model, r.product_id, r.meter = ANY (t.hourly),
        r.product_id = ANY (t.products), r.included_units + r.charged_units, r.charged_units,
        r.total_amount, r.currency, r.is_free_tier, r.day_at, r.occurred_at)::usage_countable) AS c
    -- The cycle decides; clocks differ a little, and the time only narrows what is read.
    WHERE r.account_id = p_account_id AND r.occurred_at >= p_since - interval '5 minutes'
        AND r.kind = 'usage' AND r.period_start >= p_since
    GROUP BY c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet
$$;

CREATE OR REPLACE FUNCTION usage_counter_sums(p_records usage_rated[])
RETURNS SETOF usage_counter_sum
LANGUAGE sql STABLE AS $$
    SELECT
        r.account_id, c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet,
        sum(c.units), count(*), max((r.use).amount),
        (array_agg((r.use).amount ORDER BY r.occurred_at DESC, (r.use).place DESC))[1],
        max(r.occurred_at),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0),
        coalesce(sum(r.charged_units) FILTER (WHERE r.currency <> 'CREDIT'), 0),
        coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
    FROM unnest(p_records) AS r
    CROSS JOIN LATERAL usage_counters_of(ROW(
        usage_facet((r.kind).service_type, r.billing_method, r.billing_status, r.currency),
        (r.use).user_id, (r.use).organization_id, (r.kind).operation, (r.kind).model,
        (r.kind).product_id, (r.kind).is_hourly, r.is_graded, r.included_units + r.charged_units,
        r.charged_units, r.total_amount, r.currency, r.is_free_tier, r.day_at,
        r.occurred_at)::usage_countable) AS c
    GROUP BY r.account_id, c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet
$$;

CREATE OR REPLACE FUNCTION usage_counters_of(p_use usage_countable)
RETURNS TABLE (owner text, grain text, bucket timestamptz, facet text, units numeric)
LANGUAGE sql STABLE AS $$
    SELECT '', 'day', p_use.day_at, p_use.facet, p_use.units
    UNION ALL
    SELECT d.owner, d.grain, d.bucket, '', d.units FROM usage_detail_counters(p_use) AS d
$$;

CREATE OR REPLACE FUNCTION usage_debit(p_records usage_rated[], p_contested integer[])
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
            'usage/' || (array_agg((r.use).id ORDER BY r.ordinality))[1] AS key,
            CASE WHEN count(*) = 1 THEN coalesce('usage: ' || min((r.kind).product_id), 'usage')
                ELSE 'usage: ' || count(*) || ' records' END AS reason,
            r.billing_method = 'wallet_deduction' AS bought_only,
            array_agg(r.ordinality::integer) AS members
        FROM unnest(p_records) WITH ORDINALITY AS r
        LEFT JOIN scoped AS s ON s.account_id = r.account_id AND s.scope = r.meter
        WHERE r.billing_status = 'processing' AND r.failure IS NULL
            AND (r.use).account <> ALL (p_contested)
        GROUP BY r.account_id, (r.use).share, r.billing_method, s.scope
        ORDER BY min(r.ordinality)
    ), listed AS (
        SELECT array_agg(ROW(
            account_id, amount, key, key, reason, scope, bought_only, NULL, NULL, false
            )::credit_debit_item) AS items
        FROM due
    ), paid AS (
        SELECT d.place, d.transaction_id, d.available
        FROM listed AS l CROSS JOIN LATERAL credit_debit_many(l.items) AS d
        WHERE l.items IS NOT NULL
    )
    SELECT m.members, p.transaction_id, p.available
    FROM paid AS p
    JOIN (SELECT members, row_number() OVER () AS place FROM due) AS m ON m.place = p.place
$$;

CREATE OR REPLACE FUNCTION usage_detail_counters(p_use usage_countable)
RETURNS TABLE (owner text, grain text, bucket timestamptz, units numeric)
LANGUAGE sql STABLE AS $$
    SELECT o.owner, 'day', p_use.day_at, p_use.units
    FROM (VALUES ('u:' || p_use.user_id), ('o:' || p_use.organization_id),
        ('a:' || p_use.operation), ('m:' || p_use.model)) AS o(owner)
    WHERE o.owner IS NOT NULL
    UNION ALL
    SELECT '', 'hour', date_trunc('hour', p_use.occurred_at), p_use.units
    WHERE p_use.is_hourly
    UNION ALL
    SELECT 'p:' || p_use.product_id, 'day', p_use.day_at, p_use.charged_units
    -- Not what the plan lets go beyond its allowance for nothing.
    WHERE p_use.is_graded AND p_use.currency = 'CREDIT'
        AND (p_use.total_amount > 0 OR p_use.is_free_tier)
$$;

CREATE OR REPLACE FUNCTION usage_detail_sums_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS SETOF usage_counter_sum
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT s.account_id, c.owner, c.grain, s.start_at, c.bucket, s.meter, '', sum(s.amount),
        count(*), max(s.amount), (array_agg(s.amount ORDER BY s.used_at DESC, s.place DESC))[1],
        max(s.used_at), sum(s.credits), 0::numeric, 0::numeric
    FROM (
        SELECT u.place, u.amount, u.user_id, u.organization_id, k.operation, k.model, k.meter,
            k.is_hourly, a.account_id, a.start_at, coalesce(u.used_at, a.as_of) AS used_at,
            usage_charge_units(u.amount, k.unit_price, 'CREDIT') AS credits,
            CASE WHEN u.used_at IS NULL THEN a.day_at
                ELSE date_trunc('day', u.used_at, a.zone) END AS day_at
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        OFFSET 0) AS s
    CROSS JOIN LATERAL usage_detail_counters(ROW(
        '', s.user_id, s.organization_id, s.operation, s.model, NULL, s.is_hourly, false, s.amount,
        s.amount, s.credits, 'CREDIT', false, s.day_at, s.used_at)::usage_countable) AS c
    GROUP BY s.account_id, c.owner, c.grain, s.start_at, c.bucket, s.meter
$$;

CREATE OR REPLACE FUNCTION usage_dues_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS usage_due[]
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    SELECT CASE WHEN bool_and(d.least > 0) THEN array_agg(ROW(
        d.account, d.share, d.method, a.account_id, a.as_of, d.amount, d.key, d.reason,
        d.method = 'wallet_deduction')::usage_due ORDER BY d.first) END
    FROM (
        SELECT
            u.account, u.share, k.method, min(u.place) AS first,
            sum(c.charge) AS amount, min(c.charge) AS least,
            'usage/' || (array_agg(u.id ORDER BY u.place))[1] AS key,
            CASE WHEN count(*) = 1 THEN 'usage: ' || min(k.product_id)
                ELSE 'usage: ' || count(*) || ' records' END AS reason
        FROM unnest(p_uses) AS u JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        CROSS JOIN LATERAL (
            SELECT usage_charge_units(u.amount, k.unit_price, 'CREDIT')) AS c(charge)
        WHERE k.unit_price > 0
        GROUP BY u.account, u.share, k.method) AS d
    JOIN unnest(p_accounts) AS a ON a.place = d.account
$$;

CREATE OR REPLACE FUNCTION usage_ensure_past_period(p_account_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE sql AS $$
    INSERT INTO usage_periods (id, account_id, start_at, end_at, zone, limits, closed_at)
    SELECT uuidv7(), p_account_id, m.start_at,
        least(m.end_at,
            (SELECT min(start_at) FROM usage_periods WHERE account_id = p_account_id)),
        a.zone, '{}', p_at
    FROM accounts AS a CROSS JOIN LATERAL usage_month(a.zone, p_at) AS m
    WHERE a.id = p_account_id AND NOT EXISTS (
        SELECT 1 FROM usage_periods WHERE account_id = p_account_id AND start_at <= p_at)
    ON CONFLICT DO NOTHING
$$;

CREATE OR REPLACE FUNCTION usage_existing_ids(p_uses usage_input[]) RETURNS uuid[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT ARRAY(
        SELECT u.id FROM unnest(p_uses) AS u
        CROSS JOIN LATERAL (SELECT 1 FROM billing_records WHERE id = u.id LIMIT 1) AS b)
$$;

CREATE OR REPLACE FUNCTION usage_facet(
    p_service text, p_method text, p_status text, p_currency text)
RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT concat_ws('|', coalesce(p_service, ''), p_method, p_status, p_currency)
$$;

CREATE OR REPLACE FUNCTION usage_fast_kinds(p_accounts usage_account[], p_kinds usage_kind[])
RETURNS usage_fast_kind[]
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN bool_and(f.is_fast) AND NOT EXISTS (
        SELECT FROM unnest(p_accounts) AS a
        WHERE a.limits <> '{}' AND a.limits ?| array_agg(f.meter))
        THEN array_agg(ROW(
            f.kind, f.product_id, f.service_type, f.feature_type, f.operation, f.model, f.method,
            f.meter, f.unit_price, f.is_hourly, f.facet, f.counter)::usage_fast_kind
            ORDER BY f.kind) END
    FROM (
        SELECT p.kind, p.product_id, p.service_type, p.feature_type, p.operation, p.model,
            p.method, p.meter, p.unit_price, p.is_hourly, p.is_fast, c.facet,
            min(p.kind) OVER (PARTITION BY p.meter, c.facet) AS counter
        FROM (
            SELECT k.kind, k.product_id, k.service_type, k.feature_type, k.operation, k.model,
                k.meter, k.is_hourly, coalesce(t.unit_price, 0) AS unit_price,
                CASE WHEN coalesce(t.unit_price, 0) = 0 THEN 'subscription_included'
                    ELSE coalesce(k.method, 'credit_consumption') END AS method,
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

CREATE OR REPLACE FUNCTION usage_follow_limits(p_account_id uuid, p_at timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM usage_open_period(p_account_id, p_at);
    UPDATE limit_overrides
    SET due_at = CASE WHEN effective_from > p_at THEN effective_from
        WHEN effective_to > p_at THEN effective_to END
    WHERE account_id = p_account_id AND (due_at IS NOT NULL OR effective_to IS NULL
        OR effective_to > p_at);
    RETURN (
        SELECT min(due_at) FROM limit_overrides
        WHERE account_id = p_account_id AND due_at IS NOT NULL);
END;
$$;

CREATE OR REPLACE FUNCTION usage_highest(p_free_units numeric, p_tiers jsonb, p_units numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT max(usage_cost('volume', 0, 1, p_free_units, p_tiers,
        least(p_units, p_free_units + (tier ->> 'up_to')::numeric)))
    FROM jsonb_array_elements(p_tiers) AS t(tier)
$$;

CREATE OR REPLACE FUNCTION usage_insert_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[],
    p_dues usage_due[], p_entries uuid[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH paid AS MATERIALIZED (
        SELECT d.account, d.share, d.method, p_entries[d.ordinality] AS transaction_id
        FROM unnest(p_dues) WITH ORDINALITY AS d
    )
    INSERT INTO billing_records (
        id, account_id, event_id, request_hash, user_id, organization_id, session_id, request_id,
        product_id, service_type, feature_type, operation, model, meter, usage_amount,
        included_units, charged_units, unit_price, total_amount, currency, billing_method,
        billing_status, is_free_tier, is_late, transaction_id, detail, period_start, day_at,
        occurred_at, created_at, updated_at)
    SELECT
        u.id, a.account_id, u.event_id, u.hash, u.user_id, u.organization_id, u.session_id,
        u.request_id, k.product_id, k.service_type, k.feature_type, k.operation, k.model, k.meter,
        u.amount, 0, u.amount, k.unit_price,
        usage_charge_units(u.amount, k.unit_price, 'CREDIT'), 'CREDIT', k.method, 'completed',
        k.unit_price = 0 AND k.product_id IS NOT NULL, false, p.transaction_id, u.detail,
        a.start_at, CASE WHEN u.used_at IS NULL THEN a.day_at
            ELSE date_trunc('day', u.used_at, a.zone) END,
        coalesce(u.used_at, a.as_of), a.as_of, a.as_of
    FROM unnest(p_uses) AS u
    JOIN unnest(p_accounts) AS a ON a.place = u.account
    JOIN unnest(p_kinds) AS k ON k.kind = u.kind
    LEFT JOIN paid AS p ON p.account = u.account AND p.share = u.share AND p.method = k.method
$$;

CREATE OR REPLACE FUNCTION usage_insert_records(p_records usage_rated[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO billing_records (
        id, account_id, event_id, request_hash, user_id, organization_id, session_id, request_id,
        product_id, service_type, feature_type, operation, model, meter, usage_amount,
        included_units, charged_units, unit_price, total_amount, currency, billing_method,
        billing_status, is_free_tier, is_late, transaction_id, detail, period_start, day_at,
        occurred_at, created_at, updated_at)
    SELECT
        (r.use).id, r.account_id, (r.use).event_id, (r.use).hash, (r.use).user_id,
        (r.use).organization_id, (r.use).session_id, (r.use).request_id,
        (r.kind).product_id, (r.kind).service_type, (r.kind).feature_type, (r.kind).operation,
        (r.kind).model, r.meter, (r.use).amount, r.included_units, r.charged_units, r.unit_price,
        r.total_amount, r.currency, r.billing_method, r.billing_status, r.is_free_tier, r.is_late,
        r.transaction_id, (r.use).detail, r.period_start, r.day_at, r.occurred_at, r.created_at,
        r.created_at
    FROM unnest(p_records) AS r
$$;

CREATE OR REPLACE FUNCTION usage_insufficient(p_records usage_rated[]) RETURNS integer[]
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT ARRAY(
        SELECT r.account
        FROM (
            SELECT account_id, (use).account, meter, max(created_at) AS as_of,
                sum(total_amount) AS needed,
                bool_or(billing_method = 'wallet_deduction') AS bought_only
            FROM unnest(p_records)
            WHERE billing_status = 'processing'
            GROUP BY account_id, (use).account, meter) AS r
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(remaining - held) FILTER (WHERE scope IS NULL), 0) AS general,
                coalesce(sum(remaining - held) FILTER (WHERE scope = r.meter), 0) AS scoped
            FROM credit_lots
            WHERE account_id = r.account_id AND is_open AND (is_paid OR NOT r.bought_only)
                AND coalesce(expires_at, 'infinity') > r.as_of + interval '1 second'
        ) AS l
        GROUP BY r.account
        HAVING sum(greatest(0, r.needed - l.scoped)) > min(l.general))
$$;

CREATE OR REPLACE FUNCTION usage_late_limit() RETURNS interval
LANGUAGE sql IMMUTABLE AS 'SELECT interval ''35 days''';

CREATE OR REPLACE FUNCTION usage_level_counters(p_records usage_rated[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    UPDATE usage_counters AS c SET last_value = r.last_value, last_at = r.last_at
    FROM (
        SELECT account_id, period_start, day_at, meter,
            (array_agg((use).amount ORDER BY occurred_at DESC, (use).place DESC))[1]
                AS last_value,
            max(occurred_at) AS last_at
        FROM unnest(p_records)
        WHERE (kind).counts IN ('max', 'last')
        GROUP BY account_id, period_start, day_at, meter) AS r
    WHERE c.account_id = r.account_id AND c.owner = '' AND c.grain = 'day'
        AND c.period_start = r.period_start AND c.bucket = r.day_at AND c.meter = r.meter
        AND c.last_at <= r.last_at
$$;

CREATE OR REPLACE FUNCTION usage_limits_of(
    p_limits jsonb, p_status text, p_past_due_access text, p_currency text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(one ->> 'meter', jsonb_build_object(
        'included', one ->> 'included',
        'then', CASE
            WHEN one ->> 'then' <> 'overage' THEN one ->> 'then'
            WHEN p_status = 'past_due' AND p_past_due_access <> 'full' THEN 'block'
            WHEN one -> 'prices' -> p_currency IS NULL THEN 'block'
            ELSE 'overage' END,
        'price', coalesce(one -> 'prices' ->> p_currency, '0'))), '{}')
    FROM jsonb_array_elements(p_limits) AS limits(one)
    WHERE p_status IN ('trialing', 'active')
        OR (p_status = 'past_due' AND p_past_due_access <> 'none')
$$;

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

CREATE OR REPLACE FUNCTION usage_may_be_fast(p_accounts usage_account[]) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT current_setting('app.publish_usage', true) IS DISTINCT FROM 'on'
        AND NOT EXISTS (
            SELECT FROM unnest(p_accounts)
            WHERE has_prices OR has_quotas OR budget_mode = 'block')
$$;

CREATE OR REPLACE FUNCTION usage_metered_kinds(p_kinds usage_kind[]) RETURNS SETOF usage_metered
LANGUAGE sql
SET enable_nestloop = on
AS $$
    SELECT
        k.ordinality::integer, k.product_id, coalesce(k.service_type, p.service_type),
        k.feature_type, k.operation, k.model, k.method, k.defers, m.key, m.kind, m.hourly
    FROM unnest(p_kinds) WITH ORDINALITY AS k
    LEFT JOIN LATERAL (
        SELECT meter, service_type FROM products
        WHERE key = k.product_id AND is_active LIMIT 1) AS p ON true
    LEFT JOIN LATERAL (
        SELECT key, kind, hourly FROM meters
        WHERE is_active AND CASE
            WHEN k.product_id IS NOT NULL THEN key = p.meter
            WHEN k.feature_type IS NOT NULL
                THEN key = k.feature_type OR feature_types ? k.feature_type
            ELSE service_types ? k.service_type END
        ORDER BY key = k.feature_type DESC NULLS LAST, key
        LIMIT 1) AS m ON true
$$;

CREATE OR REPLACE FUNCTION usage_month(p_zone text, p_at timestamptz)
RETURNS TABLE (start_at timestamptz, end_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT m.wall AT TIME ZONE p_zone, (m.wall + interval '1 month') AT TIME ZONE p_zone
    FROM (SELECT date_trunc('month', p_at AT TIME ZONE p_zone)) AS m(wall)
$$;

CREATE OR REPLACE FUNCTION usage_move_facet(
    p_account_id uuid, p_records uuid[], p_old_method text, p_old_status text)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH sums AS (
        SELECT ROW(
            p_account_id, '', 'day', r.period_start, r.day_at, r.meter, f.facet,
            f.sign * sum(r.included_units + r.charged_units), f.sign * count(*),
            max(r.usage_amount),
            -- A counter that is new says what its uses were; one that is there knows its last.
            max(r.usage_amount), 'epoch',
            f.sign * coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0),
            f.sign * coalesce(sum(r.charged_units) FILTER (WHERE r.currency <> 'CREDIT'), 0),
            f.sign * coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
        )::usage_counter_sum AS sum
        FROM billing_records AS r CROSS JOIN LATERAL (VALUES
            (usage_facet(r.service_type, p_old_method, p_old_status, r.currency), -1),
            (usage_facet(r.service_type, r.billing_method, r.billing_status, r.currency), 1)
        ) AS f(facet, sign)
        WHERE r.id = ANY (p_records) AND r.account_id = p_account_id
        GROUP BY r.period_start, r.day_at, r.meter, f.facet, f.sign
    )
    SELECT usage_add_counters(array_agg(sum)) FROM sums
$$;

CREATE OR REPLACE FUNCTION usage_notify_budgets(p_accounts usage_account[], p_but integer[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    one record;
BEGIN
    FOR one IN SELECT account_id, zone, start_at, as_of FROM unnest(p_accounts)
        WHERE budget_mode IS NOT NULL AND place <> ALL (p_but)
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM budget_notify(one.account_id, one.zone, one.start_at, one.as_of);
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_notify_limits(p_grown usage_growth[], p_records usage_rated[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT usage_notify_threshold(
        g.account_id,
        ROW('plan', g.meter, '', t.percent, g.period_start, l.included,
            u.used)::usage_threshold_alert,
        (SELECT max(created_at) FROM unnest(p_records) WHERE account_id = g.account_id))
    FROM unnest(p_grown) AS g
    CROSS JOIN LATERAL (
        SELECT (limits -> g.meter ->> 'included')::numeric FROM usage_periods
        WHERE account_id = g.account_id AND start_at = g.period_start LIMIT 1) AS l(included)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity), 0) FROM usage_cycles
        WHERE l.included IS NOT NULL AND account_id = g.account_id AND owner = ''
            AND period_start = g.period_start AND meter = g.meter) AS u(used)
    CROSS JOIN LATERAL (VALUES (80), (100)) AS t(percent)
    WHERE l.included * t.percent > (u.used - g.added) * 100
        AND l.included * t.percent <= u.used * 100
    ORDER BY g.account_id, g.meter, t.percent
$$;

CREATE OR REPLACE FUNCTION usage_notify_threshold(
    p_account_id uuid, p_alert usage_threshold_alert, p_at timestamptz,
    p_type text DEFAULT 'evt.billing.usage.threshold_reached')
RETURNS void
LANGUAGE sql AS $$
    WITH noted AS (
        INSERT INTO usage_alerts (
            id, account_id, subject, meter, owner, threshold, window_start, limit_amount,
            used_amount, created_at)
        VALUES (uuidv7(), p_account_id, p_alert.subject, p_alert.meter, p_alert.owner,
            p_alert.percent, p_alert.window_start, p_alert.limit_amount, p_alert.used_amount, p_at)
        ON CONFLICT DO NOTHING
        RETURNING id
    ), numbered AS (
        UPDATE credit_balances SET event_seq = event_seq + 1
        WHERE account_id = p_account_id AND EXISTS (SELECT 1 FROM noted)
        RETURNING event_seq
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(), p_account_id, event_seq, p_type,
        jsonb_build_object(
            'account_id', public_id('acc', p_account_id), 'meter', p_alert.meter,
            'subject', p_alert.subject, 'owner', p_alert.owner,
            'threshold_percent', p_alert.percent, 'limit', public_decimal(p_alert.limit_amount),
            'used', public_decimal(p_alert.used_amount), 'window_start', p_alert.window_start),
        p_at, clock_timestamp()
    FROM numbered
$$;

CREATE OR REPLACE FUNCTION usage_open_accounts(
    p_accounts uuid[], p_uses usage_input[], OUT accounts usage_account[], OUT is_current boolean)
LANGUAGE plpgsql AS $$
DECLARE
    locked record := usage_lock(p_accounts);
    real_at timestamptz := clock_timestamp();
    one record;
BEGIN
    accounts := usage_read_accounts(
        p_accounts, locked.periods, locked.budgets, locked.clocks, real_at);
    FOR one IN SELECT a.account_id, a.as_of FROM unnest(accounts) AS a WHERE a.is_due LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM usage_open_period(one.account_id, one.as_of);
    END LOOP;
    IF FOUND THEN
        PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
        locked := usage_lock(p_accounts);
        accounts := usage_read_accounts(
            p_accounts, locked.periods, locked.budgets, locked.clocks, real_at);
    END IF;
    is_current := true;
    IF EXISTS (SELECT FROM unnest(p_uses) AS u WHERE u.used_at IS NOT NULL) THEN
        FOR one IN SELECT DISTINCT o.account_id, o.used_at, o.is_late
            FROM usage_outside_period(accounts, p_uses) AS o
        LOOP
            is_current := false;
            IF one.is_late THEN
                PERFORM usage_ensure_past_period(one.account_id, one.used_at);
            END IF;
        END LOOP;
    END IF;
END;
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
    SELECT p.id, p.start_at, p.end_at, p.subscription_id, p.limits INTO known
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    wanted := usage_subscribed_period(p_account_id, p_at);
    IF wanted.subscription_id IS NULL THEN
        SELECT m.start_at, m.end_at, a.zone, '{}'::jsonb AS limits,
            NULL::uuid AS subscription_id, NULL::text AS currency
        INTO wanted
        FROM accounts AS a CROSS JOIN LATERAL usage_month(a.zone, p_at) AS m
        WHERE a.id = p_account_id;
        IF known.subscription_id IS NOT NULL AND known.end_at > p_at THEN
            -- What ends keeps its row, even at the instant it began.
            wanted.start_at := greatest(p_at, known.start_at + interval '1 microsecond');
        ELSIF known.end_at > p_at THEN
            RETURN;
        ELSE
            wanted.start_at := greatest(wanted.start_at, known.end_at);
        END IF;
    END IF;

    INSERT INTO usage_periods AS p (
        id, account_id, start_at, end_at, zone, subscription_id, currency, limits)
    VALUES (uuidv7(), p_account_id, wanted.start_at, wanted.end_at, wanted.zone,
        wanted.subscription_id, wanted.currency, wanted.limits)
    ON CONFLICT (account_id, start_at) DO UPDATE
    SET end_at = excluded.end_at, zone = excluded.zone, closed_at = NULL,
        subscription_id = excluded.subscription_id, currency = excluded.currency,
        limits = excluded.limits
    RETURNING p.id INTO opened;
    UPDATE usage_periods SET end_at = least(end_at, wanted.start_at), closed_at = p_at
    WHERE id = known.id AND known.id <> opened AND start_at < wanted.start_at;
    UPDATE credit_balances SET period_id = opened
    WHERE account_id = p_account_id AND period_id IS DISTINCT FROM opened;
    IF (known.id, known.end_at, known.limits) IS DISTINCT FROM
        (opened, wanted.end_at, wanted.limits)
    THEN
        -- What the plan says is another thing now.
        UPDATE billing_quotas SET plain_until = NULL
        WHERE account_id = p_account_id AND plain_until IS NOT NULL;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_outside_period(
    p_accounts usage_account[], p_uses usage_input[])
RETURNS TABLE (account_id uuid, used_at timestamptz, is_late boolean)
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    SELECT a.account_id, u.used_at, u.used_at < a.start_at
    FROM unnest(p_uses) AS u JOIN unnest(p_accounts) AS a ON a.place = u.account
    WHERE u.used_at < greatest(a.start_at, a.as_of - usage_late_limit()) OR u.used_at > a.as_of
$$;

CREATE OR REPLACE FUNCTION usage_own_sums_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS SETOF usage_counter_sum
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT a.account_id, '', 'day', a.start_at, s.day_at, k.meter, k.facet, s.quantity, s.events,
        s.maximum, s.last_value, s.last_at, s.credits, 0::numeric, 0::numeric
    FROM (
        SELECT u.account, k.counter, CASE WHEN u.used_at IS NULL THEN a.day_at
                ELSE date_trunc('day', u.used_at, a.zone) END AS day_at,
            sum(u.amount) AS quantity, count(*) AS events, max(u.amount) AS maximum,
            (array_agg(u.amount ORDER BY u.used_at DESC, u.place DESC))[1] AS last_value,
            max(coalesce(u.used_at, a.as_of)) AS last_at,
            sum(usage_charge_units(u.amount, k.unit_price, 'CREDIT')) AS credits
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        GROUP BY 1, 2, 3) AS s
    JOIN unnest(p_accounts) AS a ON a.place = s.account
    JOIN unnest(p_kinds) AS k ON k.kind = s.counter
$$;

CREATE OR REPLACE FUNCTION usage_pay_fast(p_dues usage_due[]) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    funds record := usage_solvency_fast(p_dues);
    dues record;
    entries uuid[];
    one record;
BEGIN
    IF NOT funds.is_certain THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(d.account_id) AS accounts, array_agg(d.as_of) AS times,
        array_agg(d.amount) AS amounts, array_agg(d.key) AS keys, array_agg(d.reason) AS reasons,
        bool_or(d.bought_only) AS bought_only
    INTO dues
    FROM unnest(p_dues) AS d;
    IF funds.is_plain THEN
        FOR one IN SELECT d.account_id, max(d.as_of) AS as_of FROM unnest(p_dues) AS d
            WHERE d.account_id = ANY (funds.expired) GROUP BY d.account_id
        LOOP
            PERFORM set_config('app.accounts', one.account_id::text, true);
            PERFORM credit_settle(one.account_id, one.as_of);
            PERFORM set_config('app.accounts', shown, true);
        END LOOP;
        SELECT CASE WHEN s.whole THEN s.entries END INTO entries
        FROM credit_debit_fast(
            dues.accounts, dues.times, dues.amounts, dues.keys, dues.reasons,
            dues.bought_only) AS s;
    ELSE
        SELECT CASE WHEN bool_and(d.transaction_id IS NOT NULL)
            THEN array_agg(d.transaction_id ORDER BY d.place) END INTO entries
        FROM credit_debit_many(ARRAY(
            SELECT ROW(u.account_id, u.amount, u.key, u.key, u.reason, NULL, u.bought_only, NULL,
                NULL, false)::credit_debit_item
            FROM unnest(p_dues) AS u)) AS d;
    END IF;
    IF entries IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure',
            MESSAGE = 'credits ended while they were counted';
    END IF;
    RETURN entries;
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
            ELSIF ((p_records[i]).kind).defers THEN
                p_records[i].billing_status := 'pending';
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
            CASE WHEN s.is_late THEN l.limits ELSE (s.account).limits END
                -> (s.kind).meter AS lim,
            CASE WHEN s.is_late THEN l.currency ELSE (s.account).currency END AS money,
            s.paid_in, coalesce(o.price, t.price) AS price
        FROM sent AS s
        LEFT JOIN LATERAL (
            SELECT start_at, zone, limits, currency FROM usage_periods
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

CREATE OR REPLACE FUNCTION usage_publish_records(p_records usage_rated[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH numbered AS (
        UPDATE credit_balances AS b SET event_seq = b.event_seq + r.uses
        FROM (SELECT account_id, count(*) AS uses FROM unnest(p_records) GROUP BY 1) AS r
        WHERE b.account_id = r.account_id
        RETURNING b.account_id, old.event_seq
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(), r.account_id,
        n.event_seq + row_number() OVER (PARTITION BY r.account_id ORDER BY (r.use).place),
        'evt.billing.usage.recorded',
        jsonb_build_object(
            'account_id', public_id('acc', r.account_id),
            'billing_id', public_id('bill', (r.use).id),
            'event_id', (r.use).event_id, 'user_id', (r.use).user_id,
            'organization_id', (r.use).organization_id, 'product_id', (r.kind).product_id,
            'service_type', (r.kind).service_type, 'feature_type', (r.kind).feature_type,
            'meter', r.meter, 'usage_amount', public_decimal((r.use).amount),
            'total_amount', public_decimal(r.total_amount), 'currency', r.currency,
            'billing_method', r.billing_method, 'billing_status', r.billing_status,
            'occurred_at', r.occurred_at),
        r.created_at, clock_timestamp()
    FROM unnest(p_records) AS r
    JOIN numbered AS n ON n.account_id = r.account_id
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
        SELECT coalesce(c.refusal, CASE
            WHEN c.rest = 0 OR c.is_late THEN NULL
            WHEN c.by_plan AND c.lim ->> 'then' = 'block' THEN 'QUOTA_EXCEEDED'
            WHEN NOT c.by_plan AND (c.kind).method = 'subscription_included' AND c.total > 0
                THEN 'NOT_INCLUDED'
        END)) AS f(failure)
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
        a.place, a.id, t.as_of, p.start_at, date_trunc('day', t.as_of, p.zone), p.zone, p.limits,
        p.currency, a.budget_mode,
        a.id = ANY (ARRAY(
            SELECT DISTINCT account_id FROM price_overrides WHERE account_id = ANY (p_accounts))),
        a.id = ANY (ARRAY(
            SELECT DISTINCT account_id FROM billing_quotas WHERE account_id = ANY (p_accounts))),
        p.end_at IS NULL OR p.end_at <= coalesce(a.clock_at, p_real_at)
    )::usage_account ORDER BY a.place)
    FROM unnest(p_accounts, p_periods, p_budgets, p_clocks) WITH ORDINALITY
        AS a(id, period_id, budget_mode, clock_at, place)
    LEFT JOIN usage_periods AS p ON p.id = a.period_id
    CROSS JOIN LATERAL (
        SELECT greatest(coalesce(a.clock_at, p_real_at), p.start_at)) AS t(as_of)
$$;

CREATE OR REPLACE FUNCTION usage_record(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    opened record;
    known uuid[] := '{}';
    kinds usage_fast_kind[];
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    opened := usage_open_accounts(p_accounts, p_uses);
    IF NOT p_new THEN
        known := usage_existing_ids(p_uses);
    END IF;
    IF cardinality(known) = 0 AND opened.is_current AND usage_may_be_fast(opened.accounts) THEN
        kinds := usage_fast_kinds(opened.accounts, p_kinds);
    END IF;
    IF kinds IS NOT NULL AND usage_record_fast(opened.accounts, kinds, p_uses) THEN
        IF p_all THEN
            RETURN QUERY SELECT a.* FROM usage_answers_fast(kinds, p_uses) AS a;
        END IF;
    ELSE
        IF p_new THEN
            known := usage_existing_ids(p_uses);
        END IF;
        IF cardinality(known) > 0 THEN
            RETURN QUERY SELECT a.* FROM usage_recorded_answers(p_uses, known) AS a;
        END IF;
        RETURN QUERY SELECT a.* FROM usage_record_rated(
            opened.accounts, p_kinds,
            ARRAY(SELECT u FROM unnest(p_uses) AS u WHERE u.id <> ALL (known) ORDER BY u.place),
            p_all) AS a;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    dues usage_due[] := '{}';
    entries uuid[];
BEGIN
    IF EXISTS (SELECT FROM unnest(p_kinds) WHERE unit_price > 0) THEN
        dues := usage_dues_fast(p_accounts, p_kinds, p_uses);
        IF dues IS NOT NULL THEN
            entries := usage_pay_fast(dues);
        END IF;
        IF entries IS NULL THEN
            RETURN false;
        END IF;
    END IF;
    PERFORM usage_insert_fast(p_accounts, p_kinds, p_uses, dues, entries);
    PERFORM usage_count_fast(p_accounts, p_kinds, p_uses);
    PERFORM usage_notify_budgets(p_accounts, '{}');
    RETURN true;
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_on_hold(
    p_account_id uuid, p_kind usage_kind, p_use usage_input)
RETURNS usage_answer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    answer usage_answer;
    account usage_account;
    hold record;
    records usage_rated[];
BEGIN
    PERFORM set_config('app.accounts', p_account_id::text, true);
    p_use.account := 1;
    p_use.kind := 1;
    SELECT a.* INTO answer FROM usage_recorded_answers(ARRAY[p_use], ARRAY[p_use.id]) AS a;
    IF FOUND THEN
        RETURN answer;
    END IF;
    account := (usage_open_accounts(ARRAY[p_account_id], ARRAY[p_use])).accounts[1];
    PERFORM credit_open(p_account_id, account.as_of);
    SELECT h.id, h.status, h.amount, h.paid_only INTO hold FROM credit_holds AS h
    WHERE h.id = p_use.hold_id AND h.account_id = p_account_id;
    IF hold.status IS DISTINCT FROM 'open' THEN
        answer.place := p_use.place;
        answer.id := p_use.id;
        answer.verdict := CASE WHEN hold.id IS NULL THEN 'HOLD_NOT_FOUND' ELSE 'HOLD_RESOLVED' END;
        answer.status := hold.status;
        RETURN answer;
    END IF;
    p_kind.method := CASE WHEN hold.paid_only THEN 'wallet_deduction' ELSE 'credit_consumption' END;
    records := usage_rate_uses(ARRAY[account], ARRAY[p_kind], ARRAY[p_use]);
    records := usage_refuse_beyond_limits(ARRAY[account], records);
    IF records[1].failure IS NULL AND records[1].total_amount > hold.amount THEN
        records[1].failure := 'HOLD_EXCEEDED';
        records[1].available := hold.amount;
    ELSIF records[1].failure IS NULL THEN
        records := usage_capture(records, p_use.hold_id);
        PERFORM usage_write_accepted(records, ARRAY[account]);
        PERFORM usage_notify_budgets(ARRAY[account], '{}');
    END IF;
    SELECT a.* INTO answer FROM usage_answer_of(records[1]) AS a;
    RETURN answer;
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_on_holds(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    use usage_input;
BEGIN
    PERFORM credit_lock_all(p_accounts);
    FOREACH use IN ARRAY p_uses LOOP
        RETURN NEXT usage_record_on_hold(p_accounts[use.account], p_kinds[use.kind], use);
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
END;
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
    IF EXISTS (SELECT FROM unnest(records) WHERE billing_status = 'processing') THEN
        short := usage_insufficient(records);
    END IF;
    contested := ARRAY(
        SELECT (r.use).account FROM unnest(records) AS r
        GROUP BY 1
        HAVING count(*) > 1 AND (
            bool_or(r.failure IN ('QUOTA_EXCEEDED', 'BUDGET_EXCEEDED', 'NOT_INCLUDED'))
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

CREATE OR REPLACE FUNCTION usage_record_rated(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    starts integer[] := '{1}';
    highs integer[] := ARRAY[cardinality(p_uses)];
    low integer;
    high integer;
    place integer;
    accounts usage_account[] := p_accounts;
    done record;
    part record;
BEGIN
    WHILE cardinality(starts) > 0 LOOP
        low := starts[cardinality(starts)];
        high := highs[cardinality(highs)];
        starts := trim_array(starts, 1);
        highs := trim_array(highs, 1);
        CONTINUE WHEN high < low;
        IF accounts IS NULL THEN
            place := p_uses[low].account;
            PERFORM set_config('app.accounts', p_accounts[place].account_id::text, true);
        END IF;
        done := usage_record_part(
            coalesce(accounts, p_accounts[place : place]), p_kinds, p_uses[low : high]);
        accounts := NULL;
        RETURN QUERY
        SELECT a.* FROM unnest(done.records) AS r CROSS JOIN LATERAL usage_answer_of(r) AS a
        WHERE (p_all OR r.failure IS NOT NULL) AND (r.use).account <> ALL (done.contested);
        FOR part IN
            SELECT min(u.ordinality)::integer + low - 1 AS first,
                max(u.ordinality)::integer + low - 1 AS last
            FROM unnest(p_uses[low : high]) WITH ORDINALITY AS u
            WHERE u.account = ANY (done.contested)
            GROUP BY u.account
        LOOP
            starts := starts || ((part.first + part.last) / 2 + 1) || part.first;
            highs := highs || part.last || ((part.first + part.last) / 2);
        END LOOP;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_recorded_answers(p_uses usage_input[], p_known uuid[])
RETURNS SETOF usage_answer
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT u.place, CASE WHEN b.request_hash = u.hash THEN 'duplicate' ELSE 'conflict' END, u.id,
        b.meter, b.unit_price, b.total_amount, b.currency, b.billing_method, b.billing_status,
        b.is_free_tier, b.charged_units = 0, b.total_amount, NULL::numeric
    FROM unnest(p_uses) AS u CROSS JOIN LATERAL (
        SELECT request_hash, meter, unit_price, total_amount, currency, billing_method,
            billing_status, is_free_tier, charged_units
        FROM billing_records WHERE id = u.id LIMIT 1) AS b
    WHERE u.id = ANY (p_known)
$$;

CREATE OR REPLACE FUNCTION usage_recount(p_account_id uuid, p_since timestamptz, p_write boolean)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    kept_quantity numeric, true_quantity numeric, kept_events bigint, true_events bigint)
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    WITH wrong AS MATERIALIZED (
        SELECT owner, grain, period_start, bucket, meter, facet, w.quantity, w.events, w.maximum,
            w.last_value, w.last_at, w.credits, w.overage, w.overage_total,
            c.quantity AS kept_quantity, c.events AS kept_events
        FROM usage_counted(p_account_id, p_since) AS w
        FULL JOIN (
            SELECT u.owner, u.grain, u.period_start, u.bucket, u.meter, u.facet, u.quantity,
                u.events, u.credits, u.overage, u.overage_total
            FROM usage_counters AS u
            WHERE u.account_id = p_account_id AND u.period_start >= p_since
                AND (u.owner NOT LIKE 'p:%'
                    OR substr(u.owner, 3) = ANY (usage_tiered_products(p_account_id)))
        ) AS c USING (owner, grain, period_start, bucket, meter, facet)
        WHERE (coalesce(w.quantity, 0), coalesce(w.events, 0), coalesce(w.credits, 0),
                coalesce(w.overage, 0), coalesce(w.overage_total, 0))
            <> (coalesce(c.quantity, 0), coalesce(c.events, 0), coalesce(c.credits, 0),
                coalesce(c.overage, 0), coalesce(c.overage_total, 0))
    ), gone AS (
        DELETE FROM usage_counters AS u USING wrong AS x
        WHERE p_write AND x.events IS NULL AND u.account_id = p_account_id
            AND (u.owner, u.grain, u.period_start, u.bucket, u.meter, u.facet)
                = (x.owner, x.grain, x.period_start, x.bucket, x.meter, x.facet)
    ), written AS (
        INSERT INTO usage_counters (
            account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total)
        SELECT p_account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
            maximum, last_value, last_at, credits, overage, overage_total
        FROM wrong WHERE p_write AND events IS NOT NULL
        ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
            quantity = excluded.quantity, events = excluded.events, maximum = excluded.maximum,
            last_value = excluded.last_value, last_at = excluded.last_at,
            credits = excluded.credits, overage = excluded.overage,
            overage_total = excluded.overage_total
    )
    SELECT owner, grain, period_start, bucket, meter, facet, kept_quantity, quantity, kept_events,
        events
    FROM wrong ORDER BY grain, period_start, bucket, owner, meter, facet
$$;

CREATE OR REPLACE FUNCTION usage_refusal(
    p_kind usage_metered, p_price usage_price, p_used_at timestamptz, p_as_of timestamptz)
RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN p_used_at > p_as_of + interval '5 minutes' THEN 'EVENT_IN_FUTURE'
        WHEN p_used_at < p_as_of - usage_late_limit() THEN 'EVENT_TOO_OLD'
        WHEN p_kind.method = 'payment_charge' AND (
            current_setting('app.charging', true) IS DISTINCT FROM 'on'
            OR coalesce(p_price.model, '') <> 'per_unit' OR p_price.free_units > 0)
            THEN 'PAYMENT_CHARGE_NOT_OFFERED'
        WHEN p_kind.product_id IS NULL
                AND p_kind.method IN ('wallet_deduction', 'credit_consumption')
            OR p_kind.product_id IS NOT NULL AND p_price.model IS NULL
            OR p_kind.product_id IS NOT NULL AND p_kind.meter IS NULL
            THEN 'PRODUCT_PRICING_NOT_FOUND'
        WHEN p_kind.meter IS NULL THEN 'METER_NOT_FOUND'
    END
$$;

CREATE OR REPLACE FUNCTION usage_refuse_beyond_limits(
    p_accounts usage_account[], INOUT p_records usage_rated[])
LANGUAGE plpgsql
SET enable_hashjoin = on
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    one record;
    code text;
BEGIN
    FOR one IN
        SELECT a AS account, r.first, r.last
        FROM unnest(p_accounts) AS a JOIN (
            SELECT (u.use).account, min(u.ordinality)::integer AS first,
                max(u.ordinality)::integer AS last
            FROM unnest(p_records) WITH ORDINALITY AS u
            GROUP BY 1) AS r ON r.account = a.place
        WHERE a.has_quotas OR a.budget_mode = 'block'
        ORDER BY a.place
    LOOP
        PERFORM set_config('app.accounts', (one.account).account_id::text, true);
        code := NULL;
        IF (one.account).has_quotas THEN
            PERFORM quota_roll_windows(
                (one.account).account_id, (one.account).zone, (one.account).start_at,
                (one.account).as_of);
            IF quota_is_exceeded(
                p_records[one.first : one.last], (one.account).account_id, (one.account).as_of)
            THEN
                code := 'QUOTA_EXCEEDED';
            END IF;
        END IF;
        IF code IS NULL AND (one.account).budget_mode = 'block'
            AND budget_is_exceeded(p_records[one.first : one.last], one.account)
        THEN
            code := 'BUDGET_EXCEEDED';
        END IF;
        IF code IS NOT NULL THEN
            FOR i IN one.first .. one.last LOOP
                IF p_records[i].failure IS NULL AND NOT p_records[i].is_late THEN
                    p_records[i].failure := code;
                END IF;
            END LOOP;
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION usage_round(p_amount numeric, p_currency text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT round(p_amount, CASE p_currency WHEN 'CREDIT' THEN 6 ELSE 12 END)
$$;

CREATE OR REPLACE FUNCTION usage_set_status(
    p_account_id uuid, p_id uuid, p_method text, p_status text, p_transaction_id uuid,
    p_detail jsonb, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    was record;
BEGIN
    SELECT r.billing_method, r.billing_status INTO was
    FROM billing_records AS r WHERE r.id = p_id FOR UPDATE;
    UPDATE billing_records
    SET billing_method = p_method, billing_status = p_status,
        transaction_id = coalesce(p_transaction_id, transaction_id), updated_at = p_at
    WHERE id = p_id;
    INSERT INTO billing_events (id, account_id, billing_id, status_before, status_after, detail, at)
    VALUES (uuidv7(), p_account_id, p_id, was.billing_status, p_status, p_detail, p_at);
    IF was.billing_method <> p_method OR was.billing_status <> p_status THEN
        PERFORM usage_move_facet(
            p_account_id, ARRAY[p_id], was.billing_method, was.billing_status);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_solvency_fast(
    p_dues usage_due[],
    OUT is_certain boolean, OUT is_plain boolean, OUT expired uuid[])
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_and(l.there >= d.amount AND NOT l.scoped), true),
        coalesce(bool_and(b.top_up_below IS NULL), true)
            AND bool_and(d.bought_only = p_dues[1].bought_only AND NOT d.is_mixed),
        array_agg(d.account_id) FILTER (WHERE b.next_expiry <= d.as_of)
    FROM (
        SELECT account_id, max(as_of) AS as_of, sum(amount) AS amount,
            bool_or(bought_only) AS bought_only,
            bool_or(bought_only) <> bool_and(bought_only) AS is_mixed
        FROM unnest(p_dues)
        GROUP BY account_id) AS d
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(remaining - held) FILTER (WHERE (is_paid OR NOT d.bought_only)
                AND coalesce(expires_at, 'infinity') > d.as_of + interval '1 second'),
                0) AS there,
            coalesce(bool_or(scope IS NOT NULL), false) AS scoped
        FROM credit_lots
        WHERE account_id = d.account_id AND is_open
    ) AS l
    CROSS JOIN LATERAL (
        SELECT top_up_below, next_expiry FROM credit_balances
        WHERE account_id = d.account_id LIMIT 1) AS b
$$;

CREATE OR REPLACE FUNCTION usage_tiered_products(p_account_id uuid) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT product FROM product_prices WHERE currency = 'CREDIT'
        UNION SELECT product FROM price_overrides
        WHERE account_id = p_account_id AND currency = 'CREDIT'
        EXCEPT SELECT product FROM product_prices
        WHERE currency = 'CREDIT' AND model = 'per_unit' AND free_units = 0
        EXCEPT SELECT product FROM price_overrides
        WHERE account_id = p_account_id AND currency = 'CREDIT' AND model = 'per_unit'
            AND free_units = 0)
$$;

CREATE OR REPLACE FUNCTION usage_write_accepted(
    p_records usage_rated[], p_accounts usage_account[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    one record;
BEGIN
    IF cardinality(p_records) = 0 THEN
        RETURN;
    END IF;
    PERFORM usage_count_quotas(p_records, p_accounts);
    PERFORM usage_write_records(p_records);
    IF EXISTS (SELECT FROM unnest(p_records) WHERE is_late AND currency <> 'CREDIT') THEN
        PERFORM usage_note_late(p_records);
    END IF;
    FOR one IN
        SELECT account_id, max(created_at) AS at FROM unnest(p_records)
        WHERE currency <> 'CREDIT' AND billing_method = 'subscription_included' AND NOT is_late
        GROUP BY account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM usage_threshold(one.account_id, one.at);
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_write_records(p_records usage_rated[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    grown usage_growth[];
BEGIN
    PERFORM usage_insert_records(p_records);
    grown := ARRAY(
        SELECT g FROM usage_add_counters(
            ARRAY(SELECT s FROM usage_counter_sums(p_records) AS s)) AS g);
    IF EXISTS (SELECT FROM unnest(p_records) WHERE is_limited) THEN
        PERFORM usage_notify_limits(grown, p_records);
    END IF;
    IF EXISTS (SELECT FROM unnest(p_records) WHERE (kind).counts IN ('max', 'last')) THEN
        PERFORM usage_level_counters(p_records);
    END IF;
    IF current_setting('app.publish_usage', true) = 'on' THEN
        PERFORM usage_publish_records(p_records);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_note_late(p_records usage_rated[]) RETURNS void
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

CREATE OR REPLACE FUNCTION usage_subscribed_period(
    p_account_id uuid, p_at timestamptz,
    OUT subscription_id uuid, OUT start_at timestamptz, OUT end_at timestamptz, OUT zone text,
    OUT currency text, OUT limits jsonb)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    sub record;
BEGIN
    SELECT s.id, s.cycle_start, s.cycle_end, s.current_period_end, s.zone, s.currency,
        s.anchor_wall, s.interval_unit, s.interval_count, p.allowance_unit, p.allowance_count,
        usage_limits_of(
            usage_agreed_limits(s.account_id, p.limits, p_at), s.status, p.past_due_access,
            s.currency) AS limits
    INTO sub
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    WHERE s.account_id = p_account_id
        AND s.status IN ('trialing', 'active', 'past_due', 'unpaid', 'paused');
    IF NOT FOUND THEN
        RETURN;
    END IF;
    start_at := sub.cycle_start;
    end_at := sub.cycle_end;
    WHILE end_at <= p_at LOOP
        start_at := end_at;
        end_at := least(
            usage_boundary(sub.anchor_wall, sub.zone, sub.allowance_unit, sub.allowance_count,
                start_at),
            usage_boundary(sub.anchor_wall, sub.zone, sub.interval_unit, sub.interval_count,
                start_at));
    END LOOP;
    subscription_id := sub.id;
    zone := sub.zone;
    currency := sub.currency;
    limits := usage_with_add_ons(sub.id, sub.current_period_end, sub.limits, start_at);
END;
$$;

CREATE OR REPLACE FUNCTION usage_threshold(p_account_id uuid, p_at timestamptz) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH crossed AS (
        UPDATE usage_periods AS p
        SET threshold_at = p_at, threshold_number = p.threshold_number + 1
        FROM credit_balances AS b, subscriptions AS s
        WHERE b.account_id = p_account_id AND p.id = b.period_id AND s.id = p.subscription_id
            AND s.status IN ('active', 'past_due') AND p.threshold_at IS NULL
            AND s.billing_threshold_minor IS NOT NULL
            AND s.billing_threshold_minor <= power(10::numeric, money_exponent(p.currency)) * (
                coalesce((
                    SELECT sum(overage_total) FROM usage_cycles
                    WHERE account_id = p_account_id AND owner = ''
                        AND period_start = p.start_at), 0)
                - coalesce((
                    SELECT sum((detail ->> 'accrued')::numeric) FROM invoice_lines
                    WHERE account_id = p_account_id AND kind = 'usage'
                        AND period_start = p.start_at), 0))
        RETURNING s.id
    )
    UPDATE matters AS m
    SET revision = m.revision + 1, next_due = least(coalesce(m.next_due, p_at), p_at),
        next_step = NULL, next_key = NULL, woken_at = clock_timestamp(), started_at = NULL,
        closed_at = NULL, status = CASE WHEN m.status = 'halted' THEN 'halted' ELSE 'open' END
    FROM crossed
    WHERE m.workflow_id = 'subscription/' || public_id('sub', crossed.id)
$$;

CREATE OR REPLACE FUNCTION usage_with_add_ons(
    p_subscription_id uuid, p_period_end timestamptz, p_limits jsonb, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN a.units IS NULL THEN l.lim
        ELSE jsonb_set(l.lim, '{included}',
            to_jsonb(trim_scale((l.lim ->> 'included')::numeric + a.units)::text)) END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    LEFT JOIN (
        SELECT meter, sum(units * CASE WHEN p_start < p_period_end THEN quantity
            ELSE coalesce(next_quantity, quantity) END) AS units
        FROM subscription_items
        WHERE subscription_id = p_subscription_id AND kind = 'add_on'
        GROUP BY meter) AS a ON a.meter = l.meter
$$;

CREATE OR REPLACE FUNCTION credit_check_top_up(
    p_account_id uuid, p_at timestamptz DEFAULT NULL, OUT verdict text, OUT wanted boolean)
LANGUAGE plpgsql AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
BEGIN
    verdict := credit_verdict(as_of, false, false);
    UPDATE credit_balances SET top_up_from = NULL
    WHERE account_id = p_account_id AND top_up_from <= as_of;
    wanted := (
        SELECT credit_wants_top_up(b, as_of) FROM credit_balances AS b
        WHERE b.account_id = p_account_id);
    IF wanted THEN
        PERFORM credit_request_top_up(p_account_id, as_of);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
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
END;
$$;

CREATE OR REPLACE VIEW credit_usage_logs WITH (security_invoker = true) AS
SELECT
    id, account_id, user_id, operation, model, service_type, product_id, usage_amount,
    total_amount AS credits, transaction_id, occurred_at AS created_at
FROM billing_records
WHERE currency = 'CREDIT' AND total_amount > 0 AND billing_status = 'completed';

CREATE OR REPLACE VIEW usage_cycles WITH (security_invoker = true) AS
SELECT
    account_id, owner, period_start, meter, sum(quantity) AS quantity,
    sum(events)::bigint AS events, max(maximum) AS maximum,
    (array_agg(last_value ORDER BY last_at DESC))[1] AS last_value, sum(credits) AS credits,
    coalesce(sum(overage) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'), 0)
        AS overage,
    coalesce(sum(overage_total) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'), 0)
        AS overage_total
FROM usage_counters
WHERE grain = 'day'
GROUP BY account_id, owner, period_start, meter;

CREATE OR REPLACE VIEW usage_records WITH (security_invoker = true) AS
SELECT
    r.id, r.account_id, r.user_id, p.subscription_id, r.feature_type, r.service_type,
    r.product_id, r.meter, r.usage_amount, r.period_start AS billing_period_start,
    p.end_at AS billing_period_end, r.occurred_at AS recorded_at, r.detail AS metadata
FROM billing_records AS r
LEFT JOIN usage_periods AS p ON p.account_id = r.account_id AND p.start_at = r.period_start
WHERE r.kind = 'usage';
