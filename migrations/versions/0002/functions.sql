SET LOCAL check_function_bodies = off;

CREATE TYPE credit_hold_item_v2 AS (
    account_id uuid, amount numeric, key text, hash text, reason text, expires_at timestamptz,
    lifetime interval, scope text, paid_only boolean, subject text, made_by text);

CREATE TYPE credit_return AS (hold_id uuid, lot_id uuid, amount numeric, at timestamptz);

CREATE TYPE credit_share AS (
    place bigint, hold_id uuid, lot_id uuid, amount numeric, at timestamptz, clawed numeric,
    expired numeric);

CREATE TYPE credit_fact AS (type text, data jsonb, at timestamptz);

CREATE TYPE quota_timed_use AS (
    id uuid, user_id text, organization_id text, meter text, amount numeric, at timestamptz,
    period_start timestamptz);

CREATE TYPE usage_own_price AS (kind integer, unit_price numeric);

CREATE TYPE usage_traits AS (
    priced_at timestamptz, has_prices boolean, has_quotas boolean, has_budgets boolean,
    has_caps boolean, has_limits boolean);

CREATE TYPE usage_repeat AS (asked uuid, id uuid);

CREATE OR REPLACE FUNCTION credit_cost(p_operation text, p_at timestamptz) RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT cost FROM credit_cost_versions(p_operation)
    WHERE effective_from <= p_at AND p_at < effective_to
$$;

CREATE OR REPLACE FUNCTION credit_cost_ever(p_operation text) RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT EXISTS (SELECT FROM credit_cost_versions(p_operation) WHERE cost IS NOT NULL)
$$;

CREATE OR REPLACE FUNCTION credit_cost_versions(p_operation text)
RETURNS TABLE (cost numeric, effective_from timestamptz, effective_to timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT v.cost, lag(v.effective_to, 1, '-infinity') OVER (ORDER BY v.effective_to),
        v.effective_to
    FROM (
        SELECT cost, effective_to FROM past_credit_costs WHERE operation = p_operation
        UNION ALL
        SELECT coalesce(
            (SELECT cost FROM credit_costs WHERE operation = p_operation AND is_active),
            CASE p_operation
                WHEN 'ai_response' THEN 1
                WHEN 'chat_message' THEN 0.5
                WHEN 'document_upload' THEN 2
                WHEN 'assessment' THEN 5
                WHEN 'content_writing' THEN 10
                WHEN 'image_generation' THEN 5
            END), 'infinity') AS v
$$;

CREATE OR REPLACE FUNCTION currency_by_default() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 'USD'
$$;

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

CREATE OR REPLACE FUNCTION public_uuid(p_text text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (
        lpad(to_hex(substring(number FROM 3 FOR 64)::bit(64)::bigint), 16, '0')
        || lpad(to_hex(substring(number FROM 67)::bit(64)::bigint), 16, '0'))::uuid
    FROM (
        SELECT string_agg(
            (strpos('0123456789abcdefghjkmnpqrstvwxyz', sign) - 1)::bit(5)::text, '' ORDER BY i)
        FROM string_to_table(right(p_text, 26), NULL) WITH ORDINALITY AS signs(sign, i)
    ) AS bits(number)
$$;

CREATE OR REPLACE FUNCTION refuse_rewrite() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = TG_TABLE_NAME || ': what a row is about stays as it was written: '
            || TG_OP || ' refused';
END;
$$;

CREATE OR REPLACE FUNCTION usage_instant(p_wall timestamp, p_zone text) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN early.at AT TIME ZONE p_zone = p_wall THEN early.at
        ELSE p_wall AT TIME ZONE p_zone END
    FROM (SELECT p_wall AT TIME ZONE p_zone - interval '3 hours' AS before) AS t
    CROSS JOIN LATERAL (
        -- By the offset that held before, if that shows this time at all.
        SELECT t.before + (p_wall - t.before AT TIME ZONE p_zone) AS at) AS early
$$;

CREATE OR REPLACE FUNCTION usage_month(p_zone text, p_at timestamptz)
RETURNS TABLE (start_at timestamptz, end_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT usage_instant(m.wall, p_zone), usage_instant(m.wall + interval '1 month', p_zone)
    FROM (SELECT date_trunc('month', p_at AT TIME ZONE p_zone)) AS m(wall)
$$;

CREATE OR REPLACE FUNCTION credit_add_lot(p_item credit_grant_item, p_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    new_lot uuid := uuidv7();
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
    WHERE account_id = p_item.account_id;
    PERFORM credit_pay_debt(
        p_item.account_id, ROW(new_lot, p_item.amount)::credit_part, p_item.key, p_item.subject,
        p_at);
    IF p_item.expires_at <= p_at THEN
        PERFORM credit_settle(p_item.account_id, p_at);
    END IF;
END;
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
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    fit := credit_capture_fit(p_items, p_at, clock_timestamp());
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
        WHERE fit.all_fit
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
        FROM items AS i WHERE h.id = i.hold_id RETURNING i.place, h.made_by, h.paid_only
    ), logged AS (
        INSERT INTO capture_logs (
            transaction_id, account_id, user_id, operation, model, credits, paid_only, detail,
            created_at)
        SELECT i.id, i.account_id, e.made_by, i.reason, i.detail ->> 'model', i.captured,
            e.paid_only, coalesce(i.detail, '{}'), m.last_at
        FROM items AS i JOIN moved AS m ON m.place = i.place JOIN ended AS e ON e.place = i.place
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
    SELECT count(*) = cardinality(p_items) AND count(DISTINCT s.account_id) = count(*),
        array_agg(uuidv7()),
        array_agg(s.lot_id ORDER BY s.place), array_agg(s.as_of ORDER BY s.place),
        array_agg(s.held ORDER BY s.place), array_agg(s.subject ORDER BY s.place)
    INTO all_fit, ids, lots, as_of, held, subjects
    FROM (
        SELECT i.ordinality AS place, i.account_id, l.id AS lot_id, t.as_of, h.amount AS held,
            h.subject
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

CREATE OR REPLACE FUNCTION credit_capture_held(
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
    posting := ROW(p_item.account_id, 'capture', public_id('hld', p_item.hold_id) || '/capture',
        NULL, p_item.reason, known.subject, p_item.detail, as_of);
    answer.verdict := credit_hold_verdict(
        as_of, known.status, known.captured = answer.captured AND EXISTS (
            SELECT FROM credit_transactions AS t
            WHERE t.key = posting.key AND t.reason = posting.reason
                AND t.detail = coalesce(posting.detail, '{}')));
    IF answer.verdict = 'ok' AND answer.captured > known.amount THEN
        answer.verdict := 'exceeded';
    END IF;
    IF answer.verdict = 'ok' THEN
        PERFORM credit_spend_held(p_item.hold_id, answer.captured, posting);
        PERFORM credit_release_lots(p_item.account_id, p_item.hold_id, answer.captured, as_of);
        UPDATE credit_holds AS h
        SET status = 'captured', captured = answer.captured, resolved_at = as_of
        WHERE h.id = p_item.hold_id;
    END IF;
    SELECT t.id INTO answer.transaction_id
    FROM credit_transactions AS t WHERE t.key = posting.key;
    -- What is released may be clawed back or expire at once: the balance is that after all of it.
    -- By the keys alone, which name this hold: with the account, a plan reads its whole ledger.
    SELECT t.balance_after INTO answer.balance
    FROM credit_transactions AS t
    WHERE t.key = ANY (posting.key || ARRAY(
        SELECT public_id('hld', p.hold_id) || '/' || public_id('lot', p.lot_id) || e.entry
        FROM credit_hold_lots AS p CROSS JOIN (VALUES ('/clawback'), ('/expire')) AS e(entry)
        WHERE p.hold_id = p_item.hold_id))
    ORDER BY t.seq DESC LIMIT 1;
    PERFORM set_config('app.accounts', shown, true);
    RETURN answer;
END;
$$;

CREATE OR REPLACE FUNCTION credit_capture_many(
    p_items credit_capture_item[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_capture_answer
LANGUAGE plpgsql AS $$
DECLARE
    place integer;
    answer credit_capture_answer;
    answers credit_capture_answer[] := '{}';
    accounts uuid[] := ARRAY(SELECT i.account_id FROM unnest(p_items) AS i);
BEGIN
    PERFORM credit_lock_all(accounts);
    answers := ARRAY(SELECT f FROM credit_capture_fast(p_items, accounts, p_at) AS f);
    IF cardinality(answers) > 0 THEN
        PERFORM usage_settle_freed(accounts);
        PERFORM budget_count_captures(p_items, answers, p_at);
        RETURN QUERY SELECT a.* FROM unnest(answers) AS a;
        RETURN;
    END IF;
    FOR place IN
        SELECT u.ordinality FROM unnest(accounts) WITH ORDINALITY AS u(account_id)
        ORDER BY u.account_id, u.ordinality
    LOOP
        answer := credit_capture_one(p_items[place], p_at);
        answer.place := place;
        answers := answers || answer;
    END LOOP;
    PERFORM budget_count_captures(p_items, answers, p_at);
    RETURN QUERY SELECT a.* FROM unnest(answers) AS a;
END;
$$;

CREATE OR REPLACE FUNCTION credit_capture_once(
    p_items credit_capture_item[], p_keys text[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_capture_answer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    answers credit_capture_answer[] := ARRAY(
        SELECT a FROM credit_capture_many(p_items, p_at) AS a);
BEGIN
    PERFORM set_config('app.accounts', (
        SELECT string_agg(DISTINCT account_id::text, ',') FROM unnest(p_items)), true);
    UPDATE credit_holds AS h SET capture_key = p_keys[a.place]
    FROM unnest(answers) AS a
    WHERE h.id = a.hold_id AND a.verdict = 'ok' AND p_keys[a.place] IS NOT NULL;
    FOR i IN 1 .. cardinality(answers) LOOP
        CONTINUE WHEN answers[i].verdict <> 'duplicate';
        IF EXISTS (
            SELECT FROM credit_holds
            WHERE id = answers[i].hold_id AND capture_key <> p_keys[answers[i].place])
        THEN
            answers[i].verdict := 'captured';
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
    RETURN QUERY SELECT a.* FROM unnest(answers) AS a;
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
    answer credit_capture_answer := credit_capture_held(p_item, p_at);
BEGIN
    IF answer.verdict = 'ok' THEN
        PERFORM set_config('app.accounts', p_item.account_id::text, true);
        INSERT INTO capture_logs (
            transaction_id, account_id, user_id, operation, model, credits, paid_only, detail,
            created_at)
        SELECT t.id, t.account_id, h.made_by, t.reason, t.detail ->> 'model', -t.amount,
            h.paid_only, t.detail, t.at
        FROM credit_transactions AS t JOIN credit_holds AS h ON h.id = p_item.hold_id
        WHERE t.id = answer.transaction_id;
        PERFORM set_config('app.accounts', shown, true);
    END IF;
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
    SELECT l.id, l.remaining, l.held, l.claimed, l.kept_from, l.expires_at, t.subject,
        credit_left_of(l) AS rest INTO lot
    FROM credit_lots AS l JOIN credit_transactions AS t ON t.key = l.grant_key
    WHERE l.grant_key = p_grant_key AND l.account_id = p_account_id
        AND t.account_id = p_account_id;
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
        asked := least(p_amount, lot.rest);
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
        UPDATE credit_lots AS l
        SET kept_from = lot.kept_from, expires_at = lot.expires_at, noticed_at = NULL
        FROM credit_transactions AS t
        WHERE l.account_id = p_account_id AND l.is_open AND l.expires_at > l.kept_from
            AND l.expires_at <= lot.kept_from AND t.key = l.grant_key
            AND t.account_id = p_account_id AND t.subject = lot.subject
            AND credit_has_room(l, lot.kept_from);
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
    CLOSE lots;
    RETURN ROW(answers, entries, wants_at);
END;
$$;

CREATE OR REPLACE FUNCTION credit_debit_apart_fast(
    p_account_ids uuid[], p_as_of timestamptz[], p_amounts numeric[], p_keys text[],
    p_reasons text[], p_lot_ids uuid[], p_bought_only boolean)
RETURNS uuid[]
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH items AS MATERIALIZED (
        SELECT i.place, i.account_id, i.as_of, i.amount, i.key, i.reason, i.lot_id, uuidv7() AS id
        FROM unnest(p_account_ids, p_as_of, p_amounts, p_keys, p_reasons, p_lot_ids)
            WITH ORDINALITY AS i(account_id, as_of, amount, key, reason, lot_id, place)
    ), burnt AS (
        UPDATE credit_lots AS l
        SET remaining = l.remaining - i.amount, is_open = l.remaining > i.amount
        FROM items AS i
        WHERE l.id = i.lot_id
    ), moved AS MATERIALIZED (
        UPDATE credit_balances AS b
        SET balance = b.balance - i.amount, used = b.used + i.amount, seq = b.seq + 1,
            last_at = greatest(b.last_at, i.as_of)
        FROM items AS i
        WHERE b.account_id = i.account_id
        RETURNING i.place, new.balance, new.used, new.seq, new.last_at
    ), split AS (
        INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
        SELECT id, lot_id, account_id, -amount FROM items
    ), written AS (
        INSERT INTO credit_transactions (
            id, account_id, seq, kind, amount, balance_after, used_after, key, request_hash,
            paid_only, reason, at, real_at)
        SELECT i.id, i.account_id, m.seq, 'debit', -i.amount, m.balance, m.used, i.key, i.key,
            p_bought_only, i.reason, m.last_at, clock_timestamp()
        FROM items AS i JOIN moved AS m ON m.place = i.place
    )
    SELECT array_agg(id ORDER BY place) FROM items
$$;

CREATE OR REPLACE FUNCTION credit_expire_ahead(
    p_account_id uuid, p_at timestamptz DEFAULT NULL, OUT verdict text, OUT holds integer)
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
        SELECT s.holds INTO holds FROM credit_settle_part(p_account_id, as_of) AS s;
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
            PERFORM credit_return_held(
                p_account_id, ARRAY[ROW(NULL, lot.id, 0, as_of)::credit_return], p_reason);
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

CREATE OR REPLACE FUNCTION credit_expiry_key(p_lot text, p_seq bigint) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT p_lot || '/expire' || CASE
        WHEN EXISTS (SELECT FROM credit_transactions AS t WHERE t.key = p_lot || '/expire')
            THEN '/' || p_seq ELSE '' END
$$;

CREATE OR REPLACE FUNCTION credit_give_back(
    p_account_id uuid, p_entry uuid, p_before uuid[], p_amount numeric, p_key text, p_subject text,
    p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    entry uuid;
    new_lot uuid := uuidv7();
    part credit_part;
    given credit_part[] := ARRAY(
        SELECT ROW(lot_id, least(room, p_amount - reach + room))::credit_part
        FROM (
            SELECT lot_id, room, sum(room) OVER (
                ORDER BY is_over, is_paid DESC, expires_at DESC NULLS FIRST, granted_seq DESC
                ) AS reach
            FROM (
                SELECT p.lot_id, coalesce(l.expires_at <= p_at, false) AS is_over, l.is_paid,
                    l.expires_at, l.granted_seq, -p.amount - coalesce((
                        SELECT sum(b.amount) FROM credit_transaction_lots AS b
                        WHERE b.transaction_id = ANY (p_before) AND b.lot_id = p.lot_id), 0)
                        AS room
                FROM credit_transaction_lots AS p JOIN credit_lots AS l ON l.id = p.lot_id
                WHERE p.transaction_id = p_entry) AS given) AS lots
        WHERE room > 0 AND reach - room < p_amount);
    owing numeric := p_amount - credit_sum(given);
    debts jsonb;
    parts credit_part[];
BEGIN
    SELECT jsonb_object_agg(public_id('ctx', s.paid_by), public_decimal(s.amount)),
        given || array_agg(ROW(s.lot_id, s.amount)::credit_part)
    INTO debts, given
    FROM credit_paid_since(p_account_id, p_entry, owing) AS s WHERE owing > 0;
    owing := p_amount - credit_sum(given);
    parts := ARRAY(
        SELECT ROW(l.id, sum(g.amount))::credit_part
        FROM unnest(given) AS g JOIN credit_lots AS l ON l.id = g.lot_id
        GROUP BY l.id ORDER BY l.is_paid, l.expires_at, l.granted_seq);
    IF owing > 0 THEN
        INSERT INTO credit_lots (
            id, account_id, kind, priority, is_paid, amount, remaining, is_open, grant_key,
            granted_seq, created_at)
        SELECT new_lot, p_account_id, 'refund', 100, false, owing, 0, false, p_key, b.seq + 1,
            greatest(b.last_at, p_at)
        FROM credit_balances AS b WHERE b.account_id = p_account_id;
        parts := ROW(new_lot, owing)::credit_part || parts;
    END IF;
    entry := credit_post(
        ROW(p_account_id, 'void', p_key, NULL, 'usage taken back', p_subject,
            jsonb_strip_nulls(jsonb_build_object(
                'transaction_id', public_id('ctx', p_entry), 'debts', debts)), p_at),
        parts);
    FOREACH part IN ARRAY parts LOOP
        PERFORM credit_settle_returned(p_account_id, part, p_key, p_subject, p_at);
    END LOOP;
    RETURN entry;
END;
$$;

CREATE OR REPLACE FUNCTION credit_grant_kept(
    p_item credit_grant_item, p_kept numeric, p_cycle_start timestamptz, p_cycle_end timestamptz,
    p_until timestamptz, p_at timestamptz, OUT verdict text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_item.account_id, p_at);
    used text := (
        SELECT t.kind FROM credit_transactions AS t
        WHERE t.key = p_item.key AND t.account_id = p_item.account_id);
    part credit_grant_item := p_item;
BEGIN
    verdict := credit_verdict(as_of, used IS NOT NULL, used = 'grant');
    IF verdict = 'ok' THEN
        IF p_item.amount > p_kept THEN
            part.amount := p_item.amount - p_kept;
            part.key := p_item.key || '/not-kept';
            PERFORM credit_add_lot(part, as_of);
        END IF;
        part := p_item;
        part.amount := least(p_kept, p_item.amount);
        part.reason := p_item.reason || ', kept on';
        part.expires_at := p_until;
        PERFORM credit_add_lot(part, as_of);
        UPDATE credit_lots AS l SET kept_from = p_cycle_end, cycle_end = p_cycle_end
        WHERE l.grant_key = p_item.key AND l.account_id = p_item.account_id;
        UPDATE credit_lots AS l
        SET kept_from = p_cycle_start, expires_at = p_item.expires_at, noticed_at = NULL
        WHERE l.account_id = p_item.account_id AND l.is_open AND l.kept_from = p_cycle_end
            AND NOT credit_has_room(l, p_cycle_end);
        UPDATE credit_balances SET next_expiry = least(next_expiry, p_item.expires_at)
        WHERE account_id = p_item.account_id AND FOUND;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
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
    LEFT JOIN credit_transactions AS d ON d.key = p_item.key || '/debt'
    WHERE l.grant_key = p_item.key;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_has_room(p_lot credit_lots, p_cycle_end timestamptz)
RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT max(brought.cap) > coalesce(
        sum(l.remaining - l.claimed) FILTER (WHERE
            (l.cycle_end IS NOT DISTINCT FROM p_cycle_end, brought.cap, l.granted_seq) > (
                p_lot.cycle_end IS NOT DISTINCT FROM p_cycle_end,
                (mine.detail ->> 'rollover_cap')::numeric, p_lot.granted_seq)), 0)
    FROM credit_transactions AS mine
    JOIN credit_lots AS l ON l.account_id = mine.account_id
    JOIN credit_transactions AS t ON t.key = l.grant_key AND t.account_id = l.account_id
    CROSS JOIN LATERAL (SELECT (t.detail ->> 'rollover_cap')::numeric AS cap) AS brought
    WHERE mine.key = p_lot.grant_key AND mine.account_id = p_lot.account_id AND l.kind = 'plan'
        AND l.is_open AND l.kept_from >= p_lot.kept_from AND t.subject = mine.subject
$$;

CREATE OR REPLACE FUNCTION credit_hold_fast_v2(
    p_items credit_hold_item_v2[], p_accounts uuid[], p_at timestamptz)
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
    fit := credit_hold_fit_v2(p_items, p_at, clock_timestamp());
    IF NOT fit.all_fit THEN
        PERFORM set_config('app.accounts', shown, true);
        RETURN;
    END IF;
    RETURN QUERY
    WITH items AS MATERIALIZED (
        SELECT
            i.account_id, i.amount, i.key, i.hash, i.reason, i.scope, i.paid_only, i.subject,
            i.made_by, i.id, i.lot_id, i.as_of, i.ends, i.place
        FROM ROWS FROM (
            unnest(p_items), unnest(fit.ids), unnest(fit.lots), unnest(fit.as_of), unnest(fit.ends)
        ) WITH ORDINALITY AS i(
            account_id, amount, key, hash, reason, expires_at, lifetime, scope, paid_only, subject,
            made_by, id, lot_id, as_of, ends, place)
    ), held AS (
        INSERT INTO credit_holds (
            id, account_id, status, amount, key, request_hash, scope, paid_only, reason,
            subject, created_at, expires_at, made_by)
        SELECT id, account_id, 'open', amount, key, hash, scope, paid_only, reason, subject,
            as_of, ends, made_by
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

CREATE OR REPLACE FUNCTION credit_hold_fit_v2(
    p_items credit_hold_item_v2[], p_at timestamptz, p_real_at timestamptz,
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

CREATE OR REPLACE FUNCTION credit_hold_many_v2(
    p_items credit_hold_item_v2[], p_at timestamptz DEFAULT NULL)
RETURNS SETOF credit_hold_answer
LANGUAGE plpgsql AS $$
DECLARE
    place integer;
    answer credit_hold_answer;
    accounts uuid[] := ARRAY(SELECT i.account_id FROM unnest(p_items) AS i);
BEGIN
    PERFORM credit_lock_all(accounts);
    RETURN QUERY SELECT f.* FROM credit_hold_fast_v2(p_items, accounts, p_at) AS f;
    IF FOUND THEN
        RETURN;
    END IF;
    FOR place IN
        SELECT u.ordinality FROM unnest(accounts) WITH ORDINALITY AS u(account_id)
        ORDER BY u.account_id, u.ordinality
    LOOP
        answer := credit_hold_one_v2(p_items[place], p_at);
        answer.place := place;
        RETURN NEXT answer;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION credit_hold_one_v2(
    p_item credit_hold_item_v2, p_at timestamptz DEFAULT NULL)
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
            PERFORM credit_hold_write_v2(p_item, answer, parts);
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

CREATE OR REPLACE FUNCTION credit_hold_write_v2(
    p_item credit_hold_item_v2, p_hold credit_hold_answer, p_parts credit_part[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    before timestamptz;
BEGIN
    INSERT INTO credit_holds (
        id, account_id, status, amount, key, request_hash, scope, paid_only, reason, subject,
        created_at, expires_at, made_by)
    VALUES (
        p_hold.hold_id, p_item.account_id, 'open', p_item.amount, p_item.key, p_item.hash,
        p_item.scope, p_item.paid_only, p_item.reason, p_item.subject, p_hold.created_at,
        p_hold.expires_at, p_item.made_by);
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

CREATE OR REPLACE FUNCTION credit_keep_end() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credit_lots AS l
    SET ends_before = coalesce(l.ends_before, '[]') || jsonb_build_object(
        'expires_at', OLD.expires_at,
        'seq', (SELECT b.seq FROM credit_balances AS b WHERE b.account_id = OLD.account_id))
    WHERE l.id = NEW.id;
    RETURN NULL;
END;
$$;

CREATE OR REPLACE TRIGGER credit_end
    AFTER UPDATE OF expires_at ON credit_lots
    FOR EACH ROW
    WHEN (NEW.expires_at IS DISTINCT FROM OLD.expires_at)
    EXECUTE FUNCTION credit_keep_end();

CREATE OR REPLACE FUNCTION credit_left_of(p_lot credit_lots) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_lot.amount - p_lot.clawed - p_lot.claimed - p_lot.lost
$$;

CREATE OR REPLACE FUNCTION credit_next_part(p_account_id uuid, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT h.expires_at FROM credit_holds AS h
    WHERE h.account_id = p_account_id AND h.status = 'open' AND h.expires_at <= p_at
    ORDER BY h.expires_at OFFSET credit_part_size() LIMIT 1
$$;

CREATE OR REPLACE FUNCTION credit_paid_since(p_account_id uuid, p_entry uuid, p_amount numeric)
RETURNS TABLE (paid_by uuid, lot_id uuid, amount numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    WITH since AS MATERIALIZED (
        SELECT t.id, t.kind, t.seq, t.detail
        FROM credit_transactions AS e JOIN credit_transactions AS t
            ON t.account_id = e.account_id AND (t.at, t.seq) > (e.at, e.seq)
        WHERE e.id = p_entry AND t.account_id = p_account_id AND t.kind IN ('debt', 'void'))
    SELECT p.id, p.lot_id, least(p.room, p_amount - p.reach + p.room)
    FROM (
        SELECT s.id, o.lot_id, r.room, sum(r.room) OVER (ORDER BY s.seq) AS reach
        FROM since AS s
        JOIN credit_transaction_lots AS o ON o.transaction_id = s.id
        JOIN credit_lots AS l ON l.id = o.lot_id
        LEFT JOIN (
            SELECT d.key, sum(d.value::numeric) AS amount
            FROM since AS v CROSS JOIN LATERAL jsonb_each_text(v.detail -> 'debts') AS d
            WHERE v.kind = 'void' GROUP BY d.key) AS b ON b.key = public_id('ctx', s.id)
        CROSS JOIN LATERAL (SELECT -o.amount - coalesce(b.amount, 0) AS room) AS r
        WHERE s.kind = 'debt' AND l.kind <> 'refund' AND r.room > 0) AS p
    WHERE p.reach - p.room < p_amount
$$;

CREATE OR REPLACE FUNCTION credit_part_size() RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT 10000
$$;

CREATE OR REPLACE FUNCTION credit_pay_debt(
    p_account_id uuid, p_part credit_part, p_key text, p_subject text, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    owed numeric := (
        SELECT least(b.debt, p_part.amount) FROM credit_balances AS b
        WHERE b.account_id = p_account_id);
BEGIN
    IF owed > 0 THEN
        PERFORM credit_post(
            ROW(p_account_id, 'debt', p_key || '/debt', NULL, 'debt paid', p_subject, NULL, p_at),
            ARRAY[ROW(p_part.lot_id, -owed)::credit_part]);
    END IF;
    PERFORM usage_settle_soon(p_account_id, p_at);
END;
$$;

CREATE OR REPLACE FUNCTION credit_post(p_posting credit_posting, p_parts credit_part[])
RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    total numeric := credit_sum(p_parts);
    -- What is given back of a use counts as never used.
    spent numeric := CASE WHEN p_posting.kind IN ('debit', 'capture', 'void') THEN -total
        ELSE 0 END;
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
    PERFORM credit_publish_all(p_account_id, ARRAY[ROW(p_type, p_data, p_at)::credit_fact]);
END;
$$;

CREATE OR REPLACE FUNCTION credit_publish_all(p_account_id uuid, p_facts credit_fact[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    account text := public_id('acc', p_account_id);
BEGIN
    WITH numbered AS (
        UPDATE credit_balances SET event_seq = cardinality(p_facts)
            + greatest(event_seq, (SELECT max(last_number) FROM skipped_events))
        WHERE account_id = p_account_id
        RETURNING event_seq - cardinality(p_facts) AS before
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT
        uuidv7(), p_account_id, n.before + f.place, 'evt.billing.' || f.type,
        jsonb_build_object('account_id', account) || f.data, f.at, clock_timestamp()
    FROM numbered AS n CROSS JOIN unnest(p_facts) WITH ORDINALITY AS f(type, data, at, place);
END;
$$;

CREATE OR REPLACE FUNCTION credit_release_lots(
    p_account_id uuid, p_hold_id uuid, p_keep numeric, p_at timestamptz)
RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    expired numeric := credit_return_held(p_account_id, ARRAY(
        SELECT ROW(p_hold_id, h.lot_id, least(h.amount, h.reach - p_keep), p_at)::credit_return
        FROM (
            SELECT lot_id, position, amount, sum(amount) OVER (ORDER BY position) AS reach
            FROM credit_hold_lots
            WHERE hold_id = p_hold_id) AS h
        WHERE h.reach > p_keep
        ORDER BY h.position), 'released');
BEGIN
    PERFORM usage_settle_soon(p_account_id, p_at);
    RETURN expired;
END;
$$;

CREATE OR REPLACE FUNCTION credit_return_clawback(
    p_account_id uuid, p_grant_key text, p_clawback_key text, p_key text, p_reason text,
    p_until timestamptz, p_at timestamptz, p_subject text,
    OUT verdict text, OUT transaction_id uuid, OUT returned numeric, OUT expires_at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    lot record;
    took record;
    known record;
    unclaimed numeric;
    unlost numeric;
BEGIN
    SELECT l.id, l.claimed, l.clawed, l.lost INTO lot
    FROM credit_lots AS l WHERE l.grant_key = p_grant_key AND l.account_id = p_account_id;
    SELECT t.id, -t.amount AS taken, (t.detail ->> 'pending')::numeric AS pending,
        (t.detail ->> 'loss')::numeric AS loss INTO took
    FROM credit_transactions AS t
    WHERE t.key = p_clawback_key AND t.account_id = p_account_id;
    SELECT t.id, t.amount INTO known
    FROM credit_transactions AS t WHERE t.key = p_key AND t.account_id = p_account_id;
    verdict := credit_verdict(as_of, known.id IS NOT NULL, true);
    returned := 0;
    IF verdict = 'ok' AND (lot.id IS NULL OR took.id IS NULL) THEN
        verdict := 'no_grant';
    ELSIF verdict = 'duplicate' THEN
        transaction_id := known.id;
        returned := known.amount;
    ELSIF verdict = 'ok' THEN
        unclaimed := least(lot.claimed, took.pending);
        unlost := least(lot.lost, took.loss + took.pending - unclaimed);
        returned := least(lot.clawed, took.taken + took.pending + took.loss - unclaimed - unlost);
        UPDATE credit_lots AS l
        SET claimed = l.claimed - unclaimed, lost = l.lost - unlost, clawed = l.clawed - returned
        WHERE l.id = lot.id;
        IF returned > 0 THEN
            -- Whoever was told of an end that comes later now is told again.
            UPDATE credit_lots AS l
            SET expires_at = greatest(l.expires_at, p_until),
                kept_from = CASE WHEN l.expires_at >= p_until THEN l.kept_from END,
                noticed_at = CASE WHEN l.expires_at >= p_until THEN l.noticed_at END
            WHERE l.id = lot.id AND l.expires_at IS NOT NULL
            RETURNING l.expires_at INTO expires_at;
            transaction_id := credit_post(
                ROW(p_account_id, 'grant', p_key, NULL, p_reason, p_subject, NULL, as_of),
                ARRAY[ROW(lot.id, returned)::credit_part]);
            UPDATE credit_balances AS b
            SET next_expiry = least(b.next_expiry, credit_return_clawback.expires_at)
            WHERE b.account_id = p_account_id;
            PERFORM credit_pay_debt(
                p_account_id, ROW(lot.id, returned)::credit_part, p_key, p_subject, as_of);
        END IF;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_return_held(
    p_account_id uuid, p_returns credit_return[], p_reason text)
RETURNS numeric
LANGUAGE plpgsql
SET enable_hashjoin = on
AS $$
DECLARE
    before credit_balances := (
        SELECT b FROM credit_balances AS b WHERE b.account_id = p_account_id);
    shares credit_share[] := ARRAY(SELECT s FROM credit_shares(p_returns) AS s);
    sums record;
BEGIN
    SELECT coalesce(sum(s.amount), 0) AS amount, coalesce(sum(s.expired), 0) AS expired,
        coalesce(sum(s.clawed + s.expired), 0) AS gone,
        count(*) FILTER (WHERE s.clawed > 0) + count(*) FILTER (WHERE s.expired > 0) AS entries,
        max(s.at) FILTER (WHERE s.clawed + s.expired > 0) AS last_at
    INTO sums FROM unnest(shares) AS s WHERE s.lot_id IS NOT NULL;
    UPDATE credit_lots AS l
    SET held = l.held - s.amount, claimed = l.claimed - s.clawed, clawed = l.clawed + s.clawed,
        remaining = l.remaining - s.gone, is_open = l.remaining > s.gone
    FROM (
        SELECT u.lot_id, sum(u.amount) AS amount, sum(u.clawed) AS clawed,
            sum(u.clawed + u.expired) AS gone
        FROM unnest(shares) AS u GROUP BY u.lot_id) AS s
    WHERE l.id = s.lot_id AND s.amount + s.gone > 0;
    IF sums.entries > 0 OR EXISTS (SELECT FROM unnest(shares) AS s WHERE s.lot_id IS NULL) THEN
        PERFORM credit_return_write(before, shares, p_reason);
    END IF;
    -- Last, for it tells that the balance is low (credit_notify_low), which follows from the rest.
    UPDATE credit_balances
    SET held = held - sums.amount, balance = balance - sums.gone, seq = seq + sums.entries,
        last_at = greatest(last_at, sums.last_at)
    WHERE account_id = p_account_id;
    RETURN sums.expired;
END;
$$;

CREATE OR REPLACE FUNCTION credit_return_write(
    p_before credit_balances, p_shares credit_share[], p_reason text)
RETURNS void
LANGUAGE plpgsql
SET enable_hashjoin = on
AS $$
DECLARE
    facts credit_fact[];
BEGIN
    WITH entries AS MATERIALIZED (
        SELECT uuidv7() AS id, s.place, s.lot_id, s.at, e.kind, e.amount,
            p_before.seq + row_number() OVER w AS seq,
            p_before.balance - sum(e.amount) OVER w AS balance,
            public_id('lot', s.lot_id) AS lot, public_id('hld', s.hold_id) AS hold,
            CASE WHEN s.hold_id IS NULL THEN p_reason ELSE 'released' END AS reason
        FROM unnest(p_shares) AS s CROSS JOIN LATERAL (
            VALUES ('clawback', s.clawed), ('expire', s.expired)) AS e(kind, amount)
        WHERE s.lot_id IS NOT NULL AND e.amount > 0
        WINDOW w AS (ORDER BY s.place, e.kind)
    ), written AS (
        INSERT INTO credit_transactions (
            id, account_id, seq, kind, amount, balance_after, used_after, key, reason, subject,
            at, real_at)
        SELECT e.id, p_before.account_id, e.seq, e.kind, -e.amount, e.balance, p_before.used,
            coalesce(e.hold || '/' || e.lot || '/' || e.kind, credit_expiry_key(e.lot, e.seq)),
            e.reason, CASE e.kind WHEN 'clawback' THEN e.hold ELSE e.lot END,
            greatest(p_before.last_at, e.at), clock_timestamp()
        FROM entries AS e
    ), split AS (
        INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
        SELECT e.id, e.lot_id, p_before.account_id, -e.amount FROM entries AS e
    )
    SELECT array_agg(ROW(f.type, f.data, f.at)::credit_fact ORDER BY f.place) INTO facts
    FROM (
        SELECT e.place, e.at, 'credits.expired' AS type, jsonb_build_object(
            'lot_id', e.lot, 'credits', public_decimal(e.amount),
            'balance', public_decimal(e.balance), 'reason', e.reason) AS data
        FROM entries AS e WHERE e.kind = 'expire'
        UNION ALL
        SELECT s.place, s.at, 'credits.hold_expired', jsonb_build_object(
            'hold_id', public_id('hld', s.hold_id), 'credits', public_decimal(s.amount))
        FROM unnest(p_shares) AS s WHERE s.lot_id IS NULL) AS f;
    PERFORM credit_publish_all(p_before.account_id, facts) WHERE facts IS NOT NULL;
END;
$$;

CREATE OR REPLACE FUNCTION credit_roll_over(
    p_account_id uuid, p_subject text, p_before timestamptz, p_start timestamptz,
    p_end timestamptz, p_until timestamptz, p_begins boolean, p_at timestamptz, OUT verdict text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    until timestamptz := coalesce(p_until, p_end);
    known record;
    cap numeric;
    gone numeric;
    lot record;
BEGIN
    verdict := credit_verdict(as_of, false, false);
    SELECT array_agg(l.id) AS lots, max((t.detail ->> 'rollover_cap')::numeric) AS cap INTO known
    FROM credit_lots AS l JOIN credit_transactions AS t ON t.key = l.grant_key
    WHERE l.account_id = p_account_id AND l.kind = 'plan' AND t.account_id = p_account_id
        AND t.subject = p_subject AND l.expires_at >= least(p_before, p_start)
        AND CASE WHEN NOT p_begins THEN l.kept_from = p_before
            ELSE l.is_open AND l.kept_from BETWEEN p_start AND p_before
                AND l.expires_at > l.kept_from END;
    cap := known.cap;
    IF verdict = 'ok' AND p_begins THEN
        FOR lot IN
            SELECT l.id, l.remaining, l.remaining - l.held AS free
            FROM credit_lots AS l JOIN credit_transactions AS t ON t.key = l.grant_key
            WHERE l.id = ANY (known.lots) AND t.account_id = p_account_id
            ORDER BY l.cycle_end IS NOT DISTINCT FROM p_before DESC,
                (t.detail ->> 'rollover_cap')::numeric DESC, l.granted_seq DESC
        LOOP
            gone := least(lot.free, greatest(lot.remaining - cap, 0));
            IF gone > 0 THEN
                PERFORM credit_expire_part(
                    p_account_id, lot.id, gone, public_id('lot', lot.id) || '/beyond-'
                        || to_char(p_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                    as_of, 'expired');
            END IF;
            UPDATE credit_lots AS l
            SET kept_from = p_end, expires_at = until,
                noticed_at = CASE WHEN l.expires_at >= until THEN l.noticed_at END
            WHERE l.id = lot.id;
            cap := greatest(cap - lot.remaining, 0);
            PERFORM credit_publish(
                p_account_id, 'credits.rolled_over', jsonb_build_object(
                    'lot_id', public_id('lot', lot.id), 'expires_at', p_end,
                    'credits', public_decimal(lot.free - gone)), as_of)
            WHERE lot.free > gone;
        END LOOP;
        -- What had rolled over into a cycle that this one cuts keeps its end, and follows none.
        UPDATE credit_lots AS l SET kept_from = NULL
        FROM credit_transactions AS t
        WHERE l.account_id = p_account_id AND l.is_open AND p_start > l.kept_from
            AND p_start < l.expires_at AND t.key = l.grant_key AND t.subject = p_subject;
    ELSIF verdict = 'ok' THEN
        -- Whoever was told of an end that comes later now is told again.
        UPDATE credit_lots AS l
        SET kept_from = CASE WHEN p_until IS NOT NULL THEN p_end END, expires_at = until,
            cycle_end = CASE WHEN l.cycle_end = p_before THEN p_end ELSE l.cycle_end END,
            noticed_at = CASE WHEN l.expires_at >= until THEN l.noticed_at END
        WHERE l.id = ANY (known.lots);
    END IF;
    IF verdict = 'ok' THEN
        PERFORM credit_settle(p_account_id, as_of);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION credit_settle(
    p_account_id uuid, p_at timestamptz, OUT credits numeric, OUT holds integer)
LANGUAGE plpgsql AS $$
BEGIN
    IF credit_next_part(p_account_id, p_at) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
            MESSAGE = 'holds of this account expire in parts, which are not done yet';
    END IF;
    SELECT s.credits, s.holds INTO credits, holds FROM credit_settle_part(p_account_id, p_at) AS s;
END;
$$;

CREATE OR REPLACE FUNCTION credit_settle_part(
    p_account_id uuid, p_at timestamptz, OUT credits numeric, OUT holds integer)
LANGUAGE plpgsql AS $$
DECLARE
    rest_at timestamptz := credit_next_part(p_account_id, p_at);
    due uuid[] := ARRAY(
        SELECT h.id FROM credit_holds AS h
        WHERE h.account_id = p_account_id AND h.status = 'open' AND h.expires_at <= p_at
        ORDER BY h.expires_at, h.id LIMIT credit_part_size());
    first_at timestamptz := (SELECT h.expires_at FROM credit_holds AS h WHERE h.id = due[1]);
BEGIN
    credits := credit_return_held(p_account_id, ARRAY(
        SELECT ROW(r.hold_id, r.lot_id, r.amount, r.at)::credit_return
        FROM (
            SELECT h.id AS hold_id, p.lot_id, p.amount, h.expires_at AS at, h.id, p.position
            FROM credit_holds AS h JOIN credit_hold_lots AS p ON p.hold_id = h.id
            WHERE h.id = ANY (due)
            UNION ALL
            SELECT h.id, NULL, h.amount, h.expires_at, h.id, NULL
            FROM credit_holds AS h WHERE h.id = ANY (due)
            UNION ALL
            SELECT NULL, l.id, 0, l.expires_at, l.id, NULL
            FROM credit_lots AS l
            WHERE l.account_id = p_account_id AND l.is_open AND l.expires_at <= p_at
                AND coalesce(l.expires_at < rest_at, true)) AS r
        ORDER BY r.at, r.hold_id IS NULL, r.id, r.position NULLS LAST), 'expired');
    UPDATE credit_holds AS h SET status = 'expired', resolved_at = h.expires_at
    WHERE h.id = ANY (due);
    holds := cardinality(due);
    IF holds > 0 THEN
        PERFORM usage_settle_soon(p_account_id, first_at);
    END IF;
    UPDATE credit_balances
    SET next_expiry = coalesce(rest_at, least(
        (SELECT min(expires_at) FROM credit_lots
         WHERE account_id = p_account_id AND is_open AND expires_at > p_at),
        (SELECT min(expires_at) FROM credit_holds
         WHERE account_id = p_account_id AND status = 'open' AND expires_at > p_at)))
    WHERE account_id = p_account_id;
END;
$$;

CREATE OR REPLACE FUNCTION credit_settle_returned(
    p_account_id uuid, p_part credit_part, p_key text, p_subject text,
    p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    key text := p_key || '/' || public_id('lot', p_part.lot_id);
    lot record;
    claim numeric;
    rest numeric;
BEGIN
    SELECT l.lost, l.expires_at INTO lot FROM credit_lots AS l WHERE l.id = p_part.lot_id;
    claim := least(lot.lost, p_part.amount);
    rest := p_part.amount - claim;
    IF claim > 0 THEN
        PERFORM credit_post(
            ROW(p_account_id, 'clawback', key || '/clawback', NULL, 'returned',
                public_id('lot', p_part.lot_id), NULL, p_at),
            ARRAY[ROW(p_part.lot_id, -claim)::credit_part]);
        UPDATE credit_lots AS l SET lost = l.lost - claim, clawed = l.clawed + claim
        WHERE l.id = p_part.lot_id;
    END IF;
    IF rest > 0 AND lot.expires_at <= p_at THEN
        PERFORM credit_expire_part(
            p_account_id, p_part.lot_id, rest, key || '/expire', p_at, 'returned');
    ELSIF rest > 0 THEN
        UPDATE credit_balances SET next_expiry = least(next_expiry, lot.expires_at)
        WHERE account_id = p_account_id;
        PERFORM credit_pay_debt(
            p_account_id, ROW(p_part.lot_id, rest)::credit_part, key, p_subject, p_at);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION credit_shares(p_returns credit_return[]) RETURNS SETOF credit_share
LANGUAGE sql STABLE AS $$
    SELECT s.place, s.hold_id, s.lot_id, s.amount, s.at, s.clawed, CASE
        WHEN s.hold_id IS NOT NULL THEN s.expired
        ELSE s.free + sum(s.amount - s.clawed - s.expired) OVER (
            PARTITION BY s.lot_id ORDER BY s.place) END
    FROM (
        SELECT c.place, c.hold_id, c.lot_id, c.amount, c.at, c.free, c.clawed,
            CASE WHEN c.expires_at <= c.at AND c.hold_id IS NOT NULL
                THEN c.amount - c.clawed ELSE 0 END AS expired
        FROM (
            SELECT r.place, r.hold_id, r.lot_id, r.amount, r.at, l.expires_at,
                l.remaining - l.held AS free,
                least(l.claimed, sum(r.amount) OVER w)
                    - least(l.claimed, sum(r.amount) OVER w - r.amount) AS clawed
            FROM unnest(p_returns) WITH ORDINALITY AS r(hold_id, lot_id, amount, at, place)
            LEFT JOIN credit_lots AS l ON l.id = r.lot_id
            WINDOW w AS (PARTITION BY r.lot_id ORDER BY r.place)) AS c) AS s
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
    SET revision = m.revision + 1, next_due = least(m.next_due, p_due), next_step = NULL,
        next_key = NULL, woken_at = excluded.woken_at, started_at = NULL, closed_at = NULL,
        status = CASE
            WHEN m.status = 'halted' THEN 'halted'
            WHEN rests AND m.status <> 'open' THEN 'resting'
            ELSE 'open'
        END
    WHERE m.closed_at IS NOT NULL OR m.next_due IS NULL OR m.next_due > p_due
        OR (m.status = 'halted' AND m.started_at IS NOT NULL);
    RETURN QUERY SELECT m.* FROM matters AS m WHERE m.workflow_id = name;
END;
$$;

CREATE OR REPLACE FUNCTION budget_captured(
    p_budget budgets, p_begins timestamptz, p_ends timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN p_budget.measure <> 'credits' THEN 0
        WHEN p_budget.captured_from = p_begins THEN p_budget.captured
        ELSE (
            SELECT coalesce(sum(credits), 0) FROM capture_logs
            WHERE account_id = p_budget.account_id
                AND created_at >= p_begins AND created_at < p_ends) END
$$;

CREATE OR REPLACE FUNCTION budget_count_captures(
    p_items credit_capture_item[], p_answers credit_capture_answer[], p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    accounts uuid[] := ARRAY(SELECT i.account_id FROM unnest(p_items) AS i);
    one record;
    as_of timestamptz;
    period record;
BEGIN
    PERFORM set_config('app.accounts', array_to_string(accounts, ','), true);
    FOR one IN
        SELECT i.account_id, sum(a.captured) AS credits
        FROM unnest(p_items) WITH ORDINALITY AS i
        JOIN unnest(p_answers) AS a ON a.place = i.ordinality AND a.verdict = 'ok'
        JOIN credit_balances AS b ON b.account_id = i.account_id AND b.budget_mode IS NOT NULL
        GROUP BY i.account_id
        ORDER BY i.account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        as_of := coalesce(p_at, (SELECT clock_at FROM accounts WHERE id = one.account_id),
            clock_timestamp());
        PERFORM usage_open_period(one.account_id, as_of);
        SELECT p.zone, p.start_at INTO period
        FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
        WHERE b.account_id = one.account_id;
        UPDATE budgets AS b
        SET captured = budget_captured(b, w.begins, w.ends)
                + CASE WHEN b.captured_from = w.begins THEN one.credits ELSE 0 END,
            captured_from = w.begins
        FROM budgets AS k CROSS JOIN LATERAL budget_window(
            k.window_kind, period.zone, period.start_at, as_of) AS w
        WHERE k.account_id = one.account_id AND k.measure = 'credits' AND b.id = k.id;
        PERFORM budget_notify(one.account_id, period.zone, period.start_at, as_of);
        PERFORM set_config('app.accounts', array_to_string(accounts, ','), true);
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION budget_is_exceeded(p_records usage_rated[], p_account usage_account)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_or(u.amount > 0 AND u.amount + s.used
        + budget_captured(b, w.begins, w.ends) > b.limit_amount), false)
    FROM budgets AS b
    CROSS JOIN LATERAL budget_window(
        b.window_kind, p_account.zone, p_account.start_at, p_account.as_of) AS w
    CROSS JOIN LATERAL budget_spent(
        b.account_id, b.measure, b.meter, b.window_kind, w.begins, w.ends) AS s
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
        SELECT r.subject, r.meter, r.percent, r.begins, r.limit_amount, r.used
        FROM budget_reached(p_account_id, p_zone, p_period_start, p_at) AS r
        ORDER BY r.id, r.percent
    LOOP
        PERFORM usage_notify_threshold(
            p_account_id,
            ROW(budget.subject, budget.meter, '', budget.percent, budget.begins,
                budget.limit_amount, budget.used)::usage_threshold_alert,
            p_at, 'evt.billing.usage.budget_reached');
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION budget_reached(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS TABLE (
    id uuid, subject text, meter text, percent integer, begins timestamptz, limit_amount numeric,
    used numeric)
LANGUAGE sql STABLE AS $$
    SELECT b.id, s.subject, s.meter, t.percent, w.begins, b.limit_amount, u.used
    FROM budgets AS b
    CROSS JOIN LATERAL (SELECT 'budget ' || public_id('bud', b.id),
        CASE b.measure WHEN 'meter' THEN b.meter ELSE b.measure END) AS s(subject, meter)
    CROSS JOIN LATERAL budget_window(b.window_kind, p_zone, p_period_start, p_at) AS w
    CROSS JOIN LATERAL budget_spent(
        b.account_id, b.measure, b.meter, b.window_kind, w.begins, w.ends) AS c
    CROSS JOIN LATERAL (SELECT c.used + budget_captured(b, w.begins, w.ends)) AS u(used)
    CROSS JOIN LATERAL unnest(b.alert_percents) AS t(percent)
    WHERE b.account_id = p_account_id AND b.alert_percents <> '{}' AND u.used > 0
        AND u.used * 100 >= b.limit_amount * t.percent
        AND NOT EXISTS (
            SELECT FROM usage_alerts AS k
            WHERE k.account_id = p_account_id AND k.subject = s.subject AND k.meter = s.meter
                AND k.window_start = w.begins AND k.threshold = t.percent)
$$;

CREATE OR REPLACE FUNCTION budget_spent(
    p_account_id uuid, p_measure text, p_meter text, p_window text, p_begins timestamptz,
    p_ends timestamptz)
RETURNS TABLE (used numeric)
LANGUAGE sql STABLE AS $$
    -- Days also count what a card pays at once; that is on no invoice to come, and voided it is
    -- nothing. A cycle is its own days, a month those that begin in it.
    SELECT coalesce(sum(CASE p_measure WHEN 'meter' THEN quantity WHEN 'credits' THEN credits
        ELSE CASE WHEN split_part(facet, '|', 2) <> 'payment_charge'
            OR split_part(facet, '|', 3) = 'refunded' THEN overage_total END
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
        SELECT CASE WHEN known.span_seconds IS NULL AND NOT known.is_derived AND NOT a.is_test
            AND p.no_entitlement IS NULL
            AND p.limits -> p_claim.meter ->> 'then' IS DISTINCT FROM 'block'
            AND NOT EXISTS (
                SELECT 1 FROM billing_quotas AS other
                WHERE other.account_id = p_account_id AND other.meter = p_claim.meter
                    AND NOT other.is_derived AND other.id <> known.id
                    AND (other.owner = known.owner
                        OR left(other.owner, 1) <> left(known.owner, 1)
                        OR other.owner = 'u*' AND other.window_kind <> known.window_kind))
            THEN least(p.end_at, p.terms_until, expires.at, CASE known.window_kind
                WHEN 'cycle' THEN p.end_at
                ELSE quota_window_end(known.window_kind, p.zone, known.window_start) END) END
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
        SELECT 1 FROM billing_quotas AS q
        WHERE account_id = p_account_id AND meter = p_claim.meter AND is_hard
            AND owner IN ('', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id)
            AND used + p_claim.amount - quota_expired(q, p_at, p_at) > limit_amount)
        AND (p_lim IS NULL OR p_lim ->> 'then' <> 'block'
            OR p_claim.amount <= (p_lim ->> 'included')::numeric
                - coalesce((
                    SELECT CASE WHEN p_lim ? 'beyond' THEN quantity ELSE covered END
                    FROM usage_cycles
                    WHERE account_id = p_account_id AND owner = ''
                        AND period_start = p_period_start AND meter = p_claim.meter), 0)
                - quota_reserved(p_account_id, p_claim.meter, p_at, '{}'))
$$;

CREATE OR REPLACE FUNCTION quota_apply(
    p_account_id uuid, p_uses quota_timed_use[], p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    zone text := quota_zone(p_account_id);
    quota record;
    percent integer;
BEGIN
    IF EXISTS (
        SELECT FROM billing_quotas WHERE id = ANY (quota_concerned(p_account_id, p_uses))
            AND span_seconds IS NOT NULL)
    THEN
        PERFORM quota_count_slices(p_account_id, p_uses, p_at);
    END IF;
    FOR quota IN
        WITH sums AS (
            SELECT q.id, CASE WHEN q.span_seconds IS NULL THEN q.used + sum(
                    CASE WHEN CASE WHEN c.claimed_at IS NULL
                        THEN quota_window_of(q, zone, c.period_start, c.at) = q.window_start
                        ELSE c.claimed_at >= q.window_start END THEN c.amount ELSE 0 END)
                ELSE quota_in_sight(q.id, q.span_seconds, p_at) END AS used
            FROM quota_counts(p_account_id, p_uses) AS c
            JOIN billing_quotas AS q ON q.id = c.quota_id
            GROUP BY q.id
        )
        UPDATE billing_quotas AS q
        -- Beyond any limit there is nothing more to know.
        SET used = least(999999999999999, greatest(0, s.used)), updated_at = p_at
        FROM sums AS s
        WHERE q.id = s.id AND s.used <> q.used
        RETURNING q.id, q.meter, q.owner, q.limit_amount, q.alert_percents, q.window_start,
            old.used AS was, new.used
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

CREATE OR REPLACE FUNCTION quota_asked(
    p_quota billing_quotas, p_zone text, p_use quota_timed_use, p_claim quota_claims,
    p_now timestamptz)
RETURNS TABLE (begins timestamptz, added numeric)
LANGUAGE sql STABLE AS $$
    SELECT w.begins, greatest(0, quota_share(p_quota, p_use.meter, p_use.user_id,
        p_use.organization_id, p_use.amount) - CASE
            WHEN p_quota.span_seconds IS NULL AND w.begins <> p_quota.window_start
                OR p_quota.span_seconds IS NULL AND p_claim.claimed_at < p_quota.window_start
                OR quota_slice_end(p_quota.span_seconds, p_claim.claimed_at)
                    <= coalesce(p_use.at, p_now) - make_interval(secs => p_quota.span_seconds)
                OR p_claim.claimed_at > p_use.at + make_interval(secs => p_quota.span_seconds)
                THEN 0
            ELSE coalesce(quota_share(p_quota, p_claim.meter, p_claim.user_id,
                p_claim.organization_id, p_claim.amount), 0) END)
    FROM (SELECT quota_window_of(p_quota, p_zone, p_use.period_start, p_use.at)) AS w(begins)
$$;

CREATE OR REPLACE FUNCTION quota_claim_fast(
    p_account_id uuid, p_claim quota_claim_input, p_real_at timestamptz)
RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_quotas SET used = used + p_claim.amount, updated_at = p_real_at
    WHERE account_id = p_account_id AND meter = p_claim.meter
        AND owner IN ('', 'u:' || p_claim.user_id, 'o:' || p_claim.organization_id)
        AND plain_until > p_real_at AND window_start <= p_real_at
        AND used + p_claim.amount < plain_below;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Events are looked for when the quota is locked: until then this one may be recorded.
    IF usage_is_known(p_claim.id) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = 'the event is known';
    END IF;
    RETURN true;
END;
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
    counted_at timestamptz;
    period record;
    allowed boolean;
    asked CONSTANT quota_timed_use[] := ARRAY[ROW(
        p_claim.id, p_claim.user_id, p_claim.organization_id, p_claim.meter, p_claim.amount, NULL,
        NULL)::quota_timed_use];
    other_month CONSTANT uuid := ((usage_claimed_ids(ARRAY[p_claim.id]))[1]).id;
BEGIN
    IF p_claim.amount <= 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'nothing is claimed';
    END IF;
    PERFORM usage_open_period(p_account_id, as_of);
    SELECT p.id, p.zone, p.start_at, p.limits -> p_claim.meter AS lim INTO period
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    -- A claim of this event that is over is released now, so that it is not taken for this one.
    PERFORM quota_open_windows(
        p_account_id, period.zone, period.start_at,
        asked || ARRAY(
            SELECT ROW(other_month, NULL, NULL, NULL, NULL, NULL, NULL)::quota_timed_use
            WHERE other_month IS NOT NULL),
        as_of);
    -- It is counted in the windows that are open, also where another clock began them, or where
    -- their midnight comes twice and they begin with the second. It expires by the account's clock.
    counted_at := greatest(as_of, (
        SELECT max(window_start) FROM billing_quotas
        WHERE id = ANY (quota_concerned(p_account_id, asked))));
    allowed := EXISTS (SELECT 1 FROM quota_claims WHERE id = p_claim.id AND status <> 'expired')
        OR usage_is_known(p_claim.id);
    IF NOT allowed THEN
        allowed := quota_allows(p_account_id, p_claim, period.lim, period.start_at, as_of);
        IF allowed THEN
            PERFORM quota_apply(p_account_id, asked, counted_at);
            INSERT INTO quota_claims (
                id, account_id, event_id, user_id, organization_id, meter, amount, claimed_at,
                expires_at, status)
            VALUES (p_claim.id, p_account_id, p_claim.event_id, p_claim.user_id,
                p_claim.organization_id, p_claim.meter, p_claim.amount, counted_at,
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

CREATE OR REPLACE FUNCTION quota_claims_in_force(p_account_id uuid, p_at timestamptz)
RETURNS SETOF quota_claims
LANGUAGE sql STABLE
AS $$
    SELECT c.* FROM quota_claims AS c
    WHERE c.account_id = p_account_id AND c.status = 'open' AND c.expires_at > p_at
$$;

CREATE OR REPLACE FUNCTION quota_concerned(p_account_id uuid, p_uses quota_timed_use[])
RETURNS uuid[]
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT ARRAY(
        SELECT q.id
        FROM (
            SELECT DISTINCT s.meter, o.owner
            FROM (
                SELECT meter, user_id, organization_id FROM unnest(p_uses)
                UNION ALL
                SELECT meter, user_id, organization_id FROM quota_claims
                WHERE id = ANY (ARRAY(SELECT u.id FROM unnest(p_uses) AS u)) AND status = 'open'
            ) AS s
            CROSS JOIN LATERAL (VALUES
                (''), ('u:' || s.user_id), ('o:' || s.organization_id)) AS o(owner)
            WHERE o.owner IS NOT NULL AND s.meter IS NOT NULL) AS w
        CROSS JOIN LATERAL (
            SELECT id FROM billing_quotas
            WHERE account_id = p_account_id AND meter = w.meter AND owner = w.owner
            -- One by one, as in quota_counts.
            OFFSET 0) AS q)
$$;

CREATE OR REPLACE FUNCTION quota_count_slices(
    p_account_id uuid, p_uses quota_timed_use[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    INSERT INTO quota_slices (account_id, quota_id, ends_at, used)
    SELECT p_account_id, g.id, g.ends_at, greatest(0, coalesce(k.used, 0) + g.added)
    FROM (
        SELECT s.id, s.ends_at, sum(s.added) AS added
        FROM (
            SELECT q.id,
                quota_slice_end(q.span_seconds, coalesce(c.claimed_at, c.at, p_at)) AS ends_at,
                CASE WHEN taken.created_at < q.created_at THEN 0 ELSE c.amount END AS added
            FROM quota_counts(p_account_id, p_uses) AS c
            CROSS JOIN LATERAL (
                SELECT id, span_seconds, created_at FROM billing_quotas
                WHERE id = c.quota_id LIMIT 1) AS q
            LEFT JOIN LATERAL (
                SELECT r.created_at
                FROM billing_records AS v JOIN billing_records AS r
                    ON r.id = v.voids AND r.month = v.month
                WHERE c.claimed_at IS NULL AND c.amount < 0 AND v.id = c.use_id
                    AND v.month = ANY (usage_record_months(c.use_id))
                -- It keeps this apart: nothing is read for a use that is not taken back.
                LIMIT 1
            ) AS taken ON true
            WHERE q.span_seconds IS NOT NULL
            OFFSET 0) AS s
        GROUP BY s.id, s.ends_at
        HAVING sum(s.added) <> 0) AS g
    LEFT JOIN LATERAL (
        SELECT used FROM quota_slices WHERE quota_id = g.id AND ends_at = g.ends_at LIMIT 1) AS k
        ON true
    ON CONFLICT (quota_id, ends_at) DO UPDATE SET used = excluded.used
$$;

CREATE OR REPLACE FUNCTION quota_counters(
    p_account_id uuid, p_after text[], p_limit integer, p_write boolean, p_at timestamptz)
RETURNS TABLE (
    meter text, owner text, window_kind text, begins timestamptz, kept numeric, counted numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    slice uuid[] := ARRAY(
        SELECT q.id FROM billing_quotas AS q
        WHERE q.account_id = p_account_id
            AND (q.meter, q.owner, q.window_kind) > (p_after[1], p_after[2], p_after[3])
        ORDER BY q.meter, q.owner, q.window_kind LIMIT p_limit);
BEGIN
    IF p_write THEN
        -- Claims of the fast path count without the account's lock.
        PERFORM 1 FROM billing_quotas WHERE id = ANY (slice) ORDER BY id FOR NO KEY UPDATE;
    END IF;
    RETURN QUERY
    WITH claims AS MATERIALIZED (
        SELECT c.meter, o.owner, c.claimed_at, c.amount
        FROM quota_claims AS c
        CROSS JOIN LATERAL (VALUES
            (''), ('u:' || c.user_id), ('o:' || c.organization_id)) AS o(owner)
        WHERE c.account_id = p_account_id AND c.status = 'open' AND o.owner IS NOT NULL
    ), claimed AS MATERIALIZED (
        SELECT q.id, sum(c.amount) AS amount
        FROM billing_quotas AS q JOIN claims AS c
            ON c.meter = q.meter AND c.owner = q.owner AND c.claimed_at >= q.window_start
        WHERE q.id = ANY (slice)
        GROUP BY q.id
    ), found AS MATERIALIZED (
        SELECT q.id, q.used, CASE
            WHEN q.span_seconds IS NULL AND q.owner <> 'u*' AND q.window_start
                = quota_window(q.window_kind, NULL, p.zone, p.start_at, p_at)
            THEN least(999999999999999, greatest(0,
                quota_recorded(q, p.zone, q.window_start) + coalesce(c.amount, 0)))
            ELSE q.used END AS counted
        FROM billing_quotas AS q
        JOIN credit_balances AS b ON b.account_id = q.account_id
        JOIN usage_periods AS p ON p.id = b.period_id
        LEFT JOIN claimed AS c ON c.id = q.id
        WHERE q.id = ANY (slice)
    ), written AS (
        UPDATE billing_quotas AS q SET used = f.counted, plain_until = NULL
        FROM found AS f WHERE p_write AND q.id = f.id AND f.counted <> f.used
    )
    SELECT q.meter, q.owner, q.window_kind, q.window_start, f.used, f.counted
    FROM found AS f JOIN billing_quotas AS q ON q.id = f.id
    ORDER BY 1, 2, 3;
END;
$$;

CREATE OR REPLACE FUNCTION quota_counts(p_account_id uuid, p_uses quota_timed_use[])
RETURNS TABLE (
    quota_id uuid, use_id uuid, amount numeric, at timestamptz, period_start timestamptz,
    claimed_at timestamptz)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT q.id, o.id, o.amount, o.at, o.period_start, o.claimed_at
    FROM (
        SELECT s.id, s.meter, w.owner, s.amount, s.at, s.period_start, s.claimed_at
        FROM (
            SELECT id, user_id, organization_id, meter, amount, at, period_start,
                NULL::timestamptz AS claimed_at
            FROM unnest(p_uses)
            UNION ALL
            SELECT id, user_id, organization_id, meter, -amount, NULL, NULL, claimed_at
            FROM quota_claims
            WHERE id = ANY (ARRAY(SELECT u.id FROM unnest(p_uses) AS u)) AND status = 'open'
        ) AS s
        CROSS JOIN LATERAL (VALUES
            (''), ('u:' || s.user_id), ('o:' || s.organization_id)) AS w(owner)
        WHERE w.owner IS NOT NULL AND s.meter IS NOT NULL
        -- Under row security an index is not searched by an expression still to be computed.
        OFFSET 0) AS o
    CROSS JOIN LATERAL (
        SELECT id FROM billing_quotas
        WHERE account_id = p_account_id AND meter = o.meter AND owner = o.owner
        -- One by one: a plan made while the account had few quotas reads all for each use.
        OFFSET 0) AS q
$$;

CREATE OR REPLACE FUNCTION quota_cut_slices(
    p_account_id uuid, p_quota_id uuid, p_quota quota_input, p_before integer)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    -- The sums below read all of what is gone before a new slice is written.
    WITH gone AS (
        DELETE FROM quota_slices
        WHERE quota_id = p_quota_id AND p_before <> p_quota.span_seconds
        RETURNING ends_at, used
    ), claims AS (
        SELECT claimed_at, amount FROM quota_claims
        WHERE p_before IS DISTINCT FROM p_quota.span_seconds
            AND account_id = p_account_id AND status = 'open' AND meter = p_quota.meter
            AND p_quota.owner IN ('', 'u:' || user_id, 'o:' || organization_id)
    )
    INSERT INTO quota_slices (account_id, quota_id, ends_at, used)
    SELECT p_account_id, p_quota_id, quota_slice_end(p_quota.span_seconds, p.at), sum(p.used)
    FROM (
        -- Ends of slices are rounded: a little before, they are in the slice for sure.
        SELECT o.ends_at - interval '1 millisecond' AS at, greatest(0, sum(o.used)) AS used
        FROM (
            SELECT ends_at, used FROM gone
            UNION ALL
            SELECT quota_slice_end(p_before, claimed_at), -amount FROM claims
            WHERE p_before IS NOT NULL) AS o
        GROUP BY o.ends_at
        UNION ALL
        SELECT claimed_at, amount FROM claims) AS p
    GROUP BY 3
    HAVING sum(p.used) > 0
$$;

CREATE OR REPLACE FUNCTION quota_expired(
    p_quota billing_quotas, p_at timestamptz, p_now timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(quota_share(p_quota, meter, user_id, organization_id, amount)), 0)
    FROM quota_claims
    WHERE account_id = p_quota.account_id AND status = 'open' AND expires_at <= p_now
        AND p_quota.window_start <> '-infinity'
        AND CASE WHEN p_quota.span_seconds IS NULL THEN claimed_at >= p_quota.window_start
            ELSE quota_slice_end(p_quota.span_seconds, claimed_at)
                    > p_at - make_interval(secs => p_quota.span_seconds)
                AND claimed_at <= p_at + make_interval(secs => p_quota.span_seconds) END
$$;

CREATE OR REPLACE FUNCTION quota_give_users(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_uses quota_timed_use[],
    p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    given record;
BEGIN
    IF NOT EXISTS (
        SELECT FROM billing_quotas
        WHERE account_id = p_account_id AND NOT is_derived AND owner = 'u*')
    THEN
        RETURN;
    END IF;
    FOR given IN
        SELECT n.owner, n.meter, n.window_kind, n.span_seconds, n.limit_amount, n.is_hard,
            n.alert_percents
        FROM (
            SELECT DISTINCT meter, 'u:' || user_id AS owner FROM unnest(p_uses)
            WHERE meter IS NOT NULL AND user_id IS NOT NULL) AS u
        CROSS JOIN LATERAL quota_not_given(p_account_id, u.meter, ARRAY[u.owner]) AS n
    LOOP
        PERFORM quota_notify(p_account_id, p_zone, p_period_start, ARRAY[quota_write(
            p_account_id,
            ROW(given.owner, given.meter, given.window_kind, given.span_seconds,
                given.limit_amount, given.is_hard, given.alert_percents)::quota_input,
            quota_window(
                given.window_kind, given.span_seconds, p_zone, p_period_start, p_at),
            true, p_at)], p_at);
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION quota_in_force(p_account_id uuid, p_meter text, p_owners text[])
RETURNS SETOF billing_quotas
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT q FROM billing_quotas AS q
    WHERE p_owners IS NULL AND q.account_id = p_account_id AND NOT q.is_derived
        AND (p_meter IS NULL OR q.meter = p_meter)
    UNION ALL
    SELECT q FROM billing_quotas AS q
    WHERE q.account_id = p_account_id AND q.owner = ANY (p_owners)
        AND (p_meter IS NULL OR q.meter = p_meter)
    UNION ALL
    SELECT n FROM quota_not_given(p_account_id, p_meter, p_owners) AS n
$$;

CREATE OR REPLACE FUNCTION quota_in_sight(p_quota_id uuid, p_span integer, p_at timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(used), 0) FROM quota_slices
    WHERE quota_id = p_quota_id AND ends_at > p_at - make_interval(secs => p_span)
$$;

CREATE OR REPLACE FUNCTION quota_is_exceeded(
    p_records usage_rated[], p_account_id uuid, p_at timestamptz)
RETURNS boolean
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH uses AS MATERIALIZED (
        SELECT c.claim, z.name AS zone,
            ROW((r.use).id, (r.use).user_id, (r.use).organization_id, r.meter,
                r.included_units + r.charged_units, (r.use).used_at, r.period_start
                )::quota_timed_use AS use
        FROM quota_zone(p_account_id) AS z(name) CROSS JOIN unnest(p_records) AS r
        LEFT JOIN LATERAL (
            SELECT k AS claim FROM quota_claims AS k
            WHERE k.id = (r.use).id AND k.status = 'open' LIMIT 1) AS c ON true
        WHERE r.failure IS NULL
    )
    -- Expired claims are summed up only where they matter: they may be many.
    SELECT coalesce(bool_or(a.amount > 0 AND a.amount + w.used > q.limit_amount AND (
        q.span_seconds IS NULL AND a.begins <> q.window_start
        OR a.amount + w.used - quota_expired(q, a.at, p_at) > q.limit_amount)), false)
    FROM (
        -- What one row gives back is not there yet for the rows before it.
        SELECT o.id, r.begins, min(u.zone) AS zone, sum(r.added) AS amount,
            max(coalesce((u.use).at, p_at)) FILTER (WHERE r.added > 0) AS at, max(
            CASE WHEN o.span_seconds IS NOT NULL AND r.added > 0
            THEN quota_rolled(o.id, o.span_seconds, coalesce((u.use).at, p_at)) END) AS rolled
        FROM (
            SELECT s.zone, s.use, s.claim, (s.use).meter, w.owner
            FROM uses AS s CROSS JOIN LATERAL (VALUES
                (''), ('u:' || (s.use).user_id), ('o:' || (s.use).organization_id)) AS w(owner)
            WHERE w.owner IS NOT NULL
            -- As in quota_counts: each use only with its own quotas.
            OFFSET 0) AS u
        JOIN billing_quotas AS o
            ON o.account_id = p_account_id AND o.meter = u.meter AND o.owner = u.owner
        CROSS JOIN LATERAL quota_asked(o, u.zone, u.use, u.claim, p_at) AS r
        WHERE o.is_hard
        GROUP BY o.id, r.begins) AS a
    JOIN billing_quotas AS q ON q.id = a.id
    CROSS JOIN LATERAL (SELECT CASE
        WHEN q.span_seconds IS NOT NULL THEN a.rolled
        WHEN a.begins = q.window_start THEN q.used
        ELSE quota_recorded(q, a.zone, a.begins) END) AS w(used)
$$;

CREATE OR REPLACE FUNCTION quota_known_uses(p_id uuid, p_real_at timestamptz)
RETURNS TABLE (
    is_recorded boolean, meter text, user_id text, organization_id text, amount numeric,
    at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    recorded CONSTANT uuid :=
        ((usage_own_records(ARRAY[p_id]) || usage_repeats(ARRAY[p_id]))[1]).id;
    claimed CONSTANT uuid := ((usage_claimed_ids(ARRAY[p_id]))[1]).id;
BEGIN
    RETURN QUERY
        SELECT false, c.meter, c.user_id, c.organization_id, c.amount, c.claimed_at
        FROM quota_claims AS c JOIN accounts AS a ON a.id = c.account_id
        WHERE c.id IN (p_id, claimed) AND (recorded IS NOT NULL OR c.status = 'settled'
            OR c.status = 'open' AND c.expires_at > coalesce(a.clock_at, p_real_at));
    IF recorded IS NOT NULL THEN
        RETURN QUERY
            SELECT true, r.meter, r.user_id, r.organization_id, r.usage_amount, r.created_at
            FROM billing_records AS r
            WHERE r.id = recorded AND r.month = ANY (usage_record_months(recorded));
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION quota_not_given(p_account_id uuid, p_meter text, p_owners text[])
RETURNS SETOF billing_quotas
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT jsonb_populate_record(d, jsonb_build_object(
        'owner', u.owner, 'is_derived', true, 'window_start', '-infinity', 'used', 0))
    FROM billing_quotas AS d CROSS JOIN unnest(p_owners) AS u(owner)
    WHERE d.account_id = p_account_id AND NOT d.is_derived AND d.owner = 'u*'
        AND (p_meter IS NULL OR d.meter = p_meter) AND starts_with(u.owner, 'u:')
        AND NOT EXISTS (
            SELECT FROM billing_quotas AS own
            WHERE own.account_id = p_account_id AND own.meter = d.meter
                AND own.owner = u.owner AND own.window_kind = d.window_kind)
$$;

CREATE OR REPLACE FUNCTION quota_notify(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_quotas uuid[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT usage_notify_thresholds(
        p_account_id, reached.alerts, p_at, 'evt.billing.usage.threshold_reached')
    FROM (
        SELECT ARRAY(
            SELECT ROW('quota ' || q.id, q.meter, q.owner, t.percent, w.begins, q.limit_amount,
                w.used)::usage_threshold_alert
            FROM billing_quotas AS q
            CROSS JOIN LATERAL (
                SELECT greatest(q.window_start, quota_window(
                    q.window_kind, q.span_seconds, p_zone, p_period_start, p_at)) AS begins,
                    CASE WHEN q.span_seconds IS NULL THEN q.used
                        ELSE quota_in_sight(q.id, q.span_seconds, p_at) END AS used
                OFFSET 0) AS w
            CROSS JOIN LATERAL unnest(q.alert_percents) AS t(percent)
            WHERE q.id = ANY (p_quotas) AND q.owner <> 'u*' AND w.used > 0
                AND (q.span_seconds IS NOT NULL OR q.window_start = w.begins)
                AND w.used * 100 >= q.limit_amount * t.percent
            ORDER BY q.owner, t.percent) AS alerts
        OFFSET 0) AS reached
    WHERE cardinality(reached.alerts) > 0
$$;

CREATE OR REPLACE FUNCTION quota_open_windows(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_uses quota_timed_use[],
    p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    concerned uuid[];
    expired quota_timed_use[];
BEGIN
    PERFORM quota_give_users(p_account_id, p_zone, p_period_start, p_uses, p_at);
    concerned := quota_concerned(p_account_id, p_uses);
    expired := ARRAY(
        SELECT ROW(c.id, NULL, NULL, NULL, NULL, NULL, NULL)::quota_timed_use
        FROM quota_claims AS c
        WHERE c.account_id = p_account_id AND c.status = 'open' AND c.expires_at <= p_at
        ORDER BY coalesce(c.id IN (SELECT u.id FROM unnest(p_uses) AS u), false) DESC,
            coalesce(c.meter = ANY (ARRAY(SELECT u.meter FROM unnest(p_uses) AS u)), false) DESC,
            coalesce(c.user_id = ANY (ARRAY(SELECT u.user_id FROM unnest(p_uses) AS u))
                OR c.organization_id = ANY (
                    ARRAY(SELECT u.organization_id FROM unnest(p_uses) AS u)), false) DESC,
            c.expires_at
        LIMIT quota_part_size());
    PERFORM 1 FROM billing_quotas
    WHERE id = ANY (concerned || quota_concerned(p_account_id, expired))
    ORDER BY id FOR NO KEY UPDATE;
    IF cardinality(expired) > 0 THEN
        PERFORM quota_apply(p_account_id, expired, p_at);
        UPDATE quota_claims SET status = 'expired'
        WHERE id = ANY (ARRAY(SELECT id FROM unnest(expired)));
    END IF;
    UPDATE billing_quotas AS q
    SET window_start = w.begins, plain_until = NULL, used = w.used, used_before = 0
    FROM (
        SELECT b.quota AS id, b.begins, least(999999999999999, greatest(0, CASE
            WHEN (b.row).span_seconds IS NULL THEN quota_recorded(b.row, p_zone, b.begins)
            ELSE quota_in_sight(b.quota, (b.row).span_seconds, p_at) END)) AS used
        FROM (
            SELECT known.id AS quota, known AS row, greatest(known.window_start, quota_window(
                known.window_kind, known.span_seconds, p_zone, p_period_start, p_at)) AS begins
            FROM billing_quotas AS known WHERE known.id = ANY (concerned)) AS b
        WHERE (b.row).span_seconds IS NOT NULL OR b.begins > (b.row).window_start) AS w
    WHERE q.id = w.id
        AND (w.begins > q.window_start OR w.used <> q.used OR q.used_before <> 0);
    -- No use of such an age is taken any more.
    DELETE FROM quota_slices AS s USING billing_quotas AS q
    WHERE q.id = ANY (concerned) AND q.span_seconds IS NOT NULL AND s.quota_id = q.id
        AND s.ends_at < p_at - usage_late_limit() - make_interval(secs => q.span_seconds);
END;
$$;

CREATE OR REPLACE FUNCTION quota_part_size() RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT 2000
$$;

CREATE OR REPLACE FUNCTION quota_recorded(
    p_quota billing_quotas, p_zone text, p_begins timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(quantity), 0) FROM usage_counters
    WHERE account_id = p_quota.account_id AND owner = p_quota.owner AND grain = 'day'
        AND meter = p_quota.meter
        -- Bounds of the key: a condition of both would read all its days, ever.
        AND period_start >= CASE p_quota.window_kind WHEN 'cycle' THEN p_begins
            ELSE '-infinity' END
        AND period_start <= CASE p_quota.window_kind WHEN 'cycle' THEN p_begins
            ELSE 'infinity' END
        AND bucket >= CASE p_quota.window_kind WHEN 'cycle' THEN '-infinity' ELSE p_begins END
        AND bucket < CASE p_quota.window_kind WHEN 'cycle' THEN 'infinity'
            ELSE quota_window_end(p_quota.window_kind, p_zone, p_begins) END
$$;

CREATE OR REPLACE FUNCTION quota_releases(p_quota_id uuid, p_at timestamptz)
RETURNS TABLE (at timestamptz, amount numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    WITH claims AS (
        SELECT c.expires_at,
            quota_share(q, c.meter, c.user_id, c.organization_id, c.amount) AS amount,
            quota_slice_end(q.span_seconds, c.claimed_at)
                + make_interval(secs => q.span_seconds) AS out_of_sight
        FROM billing_quotas AS q CROSS JOIN LATERAL quota_claims_in_force(q.account_id, p_at) AS c
        WHERE q.id = p_quota_id
            AND (q.span_seconds IS NOT NULL OR c.claimed_at >= q.window_start)
    ), parts AS (
        SELECT least(expires_at, out_of_sight) AS at, amount FROM claims
        UNION ALL
        SELECT out_of_sight, -amount FROM claims WHERE out_of_sight IS NOT NULL
        UNION ALL
        SELECT s.ends_at + make_interval(secs => q.span_seconds), s.used
        FROM billing_quotas AS q JOIN quota_slices AS s ON s.quota_id = q.id
        WHERE q.id = p_quota_id
    )
    SELECT p.at, sum(p.amount) FROM parts AS p
    WHERE p.at > p_at GROUP BY p.at HAVING sum(p.amount) <> 0 ORDER BY p.at
$$;

CREATE OR REPLACE FUNCTION quota_remove(p_account_id uuid, p_quota_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    gone record;
    other record;
    period record;
    written uuid;
BEGIN
    SELECT owner, meter, window_kind, window_start INTO gone
    FROM billing_quotas WHERE id = p_quota_id AND account_id = p_account_id;
    SELECT span_seconds, limit_amount, is_hard, alert_percents INTO other
    FROM billing_quotas
    WHERE account_id = p_account_id AND owner = 'u*' AND NOT is_derived AND meter = gone.meter
        AND window_kind = gone.window_kind AND starts_with(gone.owner, 'u:');
    IF FOUND THEN
        written := quota_write(
            p_account_id,
            ROW(gone.owner, gone.meter, gone.window_kind, other.span_seconds, other.limit_amount,
                other.is_hard, other.alert_percents)::quota_input,
            gone.window_start, true, p_at);
        PERFORM usage_open_period(p_account_id, p_at);
        SELECT p.zone, p.start_at INTO period
        FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
        WHERE b.account_id = p_account_id;
        PERFORM quota_notify(
            p_account_id, period.zone, period.start_at, ARRAY[written], p_at);
        RETURN;
    END IF;
    DELETE FROM quota_slices WHERE quota_id = p_quota_id;
    DELETE FROM billing_quotas WHERE id = p_quota_id AND account_id = p_account_id;
    IF gone.owner = 'u*' THEN
        PERFORM quota_take_back(p_account_id, gone.meter, gone.window_kind);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION quota_reserved(
    p_account_id uuid, p_meter text, p_at timestamptz, p_but uuid[])
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(amount), 0) FROM quota_claims_in_force(p_account_id, p_at)
    WHERE meter = p_meter AND id NOT IN (SELECT unnest(p_but))
$$;

CREATE OR REPLACE FUNCTION quota_rolled(p_quota_id uuid, p_span integer, p_at timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT max(s.used)
    FROM (
        SELECT p_at - make_interval(secs => p_span) AS after, quota_slice_end(p_span, p_at) AS until
        UNION ALL
        -- With the slice that is just leaving: some use of the later one may have seen it. The
        -- ends of slices are rounded, so half a slice keeps clear of them.
        SELECT q.ends_at - make_interval(secs => p_span + p_span / 120.0), q.ends_at
        FROM quota_slices AS q
        WHERE q.quota_id = p_quota_id AND q.ends_at > quota_slice_end(p_span, p_at)
            AND q.ends_at <= quota_slice_end(p_span, p_at) + make_interval(secs => p_span)
    ) AS w
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(used), 0) AS used FROM quota_slices
        WHERE quota_id = p_quota_id AND ends_at > w.after AND ends_at <= w.until) AS s
$$;

CREATE OR REPLACE FUNCTION quota_set(p_account_id uuid, p_quota quota_input, p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    period record;
    own CONSTANT quota_timed_use[] := ARRAY[ROW(
        NULL, CASE WHEN starts_with(p_quota.owner, 'u:') THEN substr(p_quota.owner, 3) END,
        CASE WHEN starts_with(p_quota.owner, 'o:') THEN substr(p_quota.owner, 3) END,
        p_quota.meter, 0, NULL, NULL)::quota_timed_use];
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
    PERFORM quota_open_windows(p_account_id, period.zone, period.start_at, own, p_at);
    -- Claims whose use is recorded: without a quota nobody closed them.
    UPDATE quota_claims AS c SET status = 'settled'
    WHERE account_id = p_account_id AND status = 'open'
        AND EXISTS (
            SELECT 1 FROM billing_records WHERE id = c.id
                AND month = ANY (usage_record_months(c.id)));
    UPDATE billing_quotas SET plain_until = NULL
    WHERE account_id = p_account_id AND meter = p_quota.meter AND NOT is_derived
        AND plain_until IS NOT NULL;
    written := quota_write(
        p_account_id, p_quota, quota_window(
            p_quota.window_kind, p_quota.span_seconds, period.zone, period.start_at, p_at),
        false, p_at);
    IF p_quota.owner = 'u*' THEN
        PERFORM quota_set_copies(p_account_id, period.zone, period.start_at, p_quota, p_at);
    END IF;
    PERFORM quota_open_windows(p_account_id, period.zone, period.start_at, own, p_at);
    PERFORM quota_notify(p_account_id, period.zone, period.start_at, ARRAY[written], p_at);
    RETURN written;
END;
$$;

CREATE OR REPLACE FUNCTION quota_set_copies(
    p_account_id uuid, p_zone text, p_period_start timestamptz, p_quota quota_input,
    p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM billing_quotas
        WHERE account_id = p_account_id AND meter = p_quota.meter
            AND window_kind = p_quota.window_kind AND is_derived
            AND span_seconds <> p_quota.span_seconds)
    THEN
        PERFORM quota_take_back(p_account_id, p_quota.meter, p_quota.window_kind);
    END IF;
    UPDATE billing_quotas SET limit_amount = p_quota.limit_amount,
        is_hard = p_quota.is_hard, alert_percents = p_quota.alert_percents, updated_at = p_at
    WHERE account_id = p_account_id AND meter = p_quota.meter
        AND window_kind = p_quota.window_kind AND is_derived;
    PERFORM quota_notify(p_account_id, p_zone, p_period_start, ARRAY(
        SELECT id FROM billing_quotas
        WHERE account_id = p_account_id AND meter = p_quota.meter
            AND window_kind = p_quota.window_kind AND is_derived AND used > 0
            -- A window has no more than was last counted.
            AND used * 100 >= limit_amount * (
                SELECT min(t.percent) FROM unnest(p_quota.alert_percents) AS t(percent))), p_at);
END;
$$;

CREATE OR REPLACE FUNCTION quota_share(
    p_quota billing_quotas, p_meter text, p_user_id text, p_organization_id text, p_amount numeric)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_meter = p_quota.meter
        AND p_quota.owner IN ('', 'u:' || p_user_id, 'o:' || p_organization_id)
        THEN p_amount ELSE 0 END
$$;

CREATE OR REPLACE FUNCTION quota_slice_end(p_span integer, p_at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT to_timestamp((div(extract(epoch FROM p_at) * 60, p_span) + 1) * p_span / 60)
$$;

CREATE OR REPLACE FUNCTION quota_standing(
    p_account_id uuid, p_meter text, p_owners text[], p_zone text, p_period_start timestamptz,
    p_at timestamptz, p_now timestamptz)
RETURNS TABLE (quota billing_quotas, begins timestamptz, used numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT q, w.begins, greatest(0, CASE
        WHEN q.span_seconds IS NOT NULL
            THEN quota_rolled(q.id, q.span_seconds, p_at) - expired.amount
        WHEN w.begins = q.window_start THEN q.used - expired.amount
        ELSE quota_recorded(q, p_zone, w.begins) END
        -- Of one that is not given yet: it will begin with what is claimed.
        + CASE WHEN q.window_start = '-infinity' AND p_at >= p_now THEN (
            SELECT coalesce(sum(quota_share(q, meter, user_id, organization_id, amount)), 0)
            FROM quota_claims_in_force(p_account_id, p_now)
            WHERE claimed_at >= w.begins) ELSE 0 END)
    FROM quota_in_force(p_account_id, p_meter, p_owners) AS q
    CROSS JOIN LATERAL (
        SELECT quota_window(q.window_kind, q.span_seconds, p_zone, p_period_start, p_at)
    ) AS w(begins)
    CROSS JOIN quota_expired(q, p_at, p_now) AS expired(amount)
$$;

CREATE OR REPLACE FUNCTION quota_take_back(
    p_account_id uuid, p_meter text, p_window_kind text)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH gone AS (
        DELETE FROM billing_quotas
        WHERE account_id = p_account_id AND meter = p_meter AND is_derived
            AND window_kind = p_window_kind
        RETURNING id
    )
    DELETE FROM quota_slices AS s USING gone WHERE s.quota_id = gone.id
$$;

CREATE OR REPLACE FUNCTION quota_window_end(p_kind text, p_zone text, p_begins timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT usage_instant(
        date_trunc(p_kind, p_begins AT TIME ZONE p_zone) + ('1 ' || p_kind)::interval, p_zone)
$$;

CREATE OR REPLACE FUNCTION quota_window_of(
    p_quota billing_quotas, p_zone text, p_period_start timestamptz, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_at IS NULL OR p_quota.window_kind = 'rolling' THEN p_quota.window_start
        ELSE quota_window(p_quota.window_kind, NULL, p_zone, p_period_start, p_at) END
$$;

CREATE OR REPLACE FUNCTION quota_write(
    p_account_id uuid, p_quota quota_input, p_begins timestamptz, p_is_derived boolean,
    p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    counted record;
    written record;
BEGIN
    counted := quota_counted(p_account_id, p_quota, p_begins);
    INSERT INTO billing_quotas AS q (
        id, account_id, owner, meter, window_kind, span_seconds, limit_amount, is_hard,
        alert_percents, window_start, used, used_before, is_derived, created_at, updated_at)
    VALUES (uuidv7(), p_account_id, p_quota.owner, p_quota.meter, p_quota.window_kind,
        p_quota.span_seconds, p_quota.limit_amount, p_quota.is_hard, p_quota.alert_percents,
        -- Beyond any limit there is nothing more to know.
        p_begins, least(999999999999999, counted.used),
        least(999999999999999, counted.used_before), p_is_derived, p_at, p_at)
    ON CONFLICT (account_id, meter, owner, window_kind) DO UPDATE SET
        span_seconds = excluded.span_seconds, limit_amount = excluded.limit_amount,
        is_hard = excluded.is_hard, alert_percents = excluded.alert_percents,
        is_derived = excluded.is_derived, updated_at = excluded.updated_at, plain_until = NULL,
        -- Another span is another window.
        window_start = CASE WHEN q.span_seconds IS DISTINCT FROM excluded.span_seconds
            THEN excluded.window_start ELSE q.window_start END
    RETURNING q.id, old.span_seconds AS span_before INTO written;
    IF p_quota.span_seconds IS NOT NULL THEN
        PERFORM quota_cut_slices(p_account_id, written.id, p_quota, written.span_before);
    END IF;
    RETURN written.id;
END;
$$;

CREATE OR REPLACE FUNCTION quota_zone(p_account_id uuid) RETURNS text
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.zone FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id
$$;

CREATE OR REPLACE FUNCTION usage_add_counters(p_sums usage_counter_sum[])
RETURNS SETOF usage_growth
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
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
    SELECT usage_limits_agreed_at(p_account_id, p_limits, greatest(p_at, coalesce(
        (SELECT clock_at FROM accounts WHERE id = p_account_id), clock_timestamp())))
$$;

CREATE OR REPLACE FUNCTION usage_alert_percents() RETURNS SETOF integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    VALUES (80), (100)
$$;

CREATE OR REPLACE FUNCTION usage_allot_again(
    p_account_id uuid, p_period_start timestamptz, p_meter text, p_units numeric, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    found record;
    beyond numeric;
    room numeric;
BEGIN
    SELECT c.overage, (
        SELECT (p.limits -> p_meter ->> 'included')::numeric - c.covered FROM usage_periods AS p
        WHERE p.account_id = p_account_id AND p.start_at = p_period_start
            -- What is free beyond it by now takes nothing of it.
            AND p.limits -> p_meter ->> 'then' <> 'notify')
    INTO beyond, room
    FROM usage_cycles AS c
    WHERE c.account_id = p_account_id AND c.owner = '' AND c.period_start = p_period_start
        AND c.meter = p_meter;
    room := least(p_units, room);
    SELECT array_agg(s.id) AS ids, array_agg(s.reach) AS reaches, array_agg(least(
        s.charged_units, room - s.reach + s.charged_units)) AS units
    INTO found
    FROM (
        SELECT r.id, r.charged_units, sum(r.charged_units) OVER (
            ORDER BY r.occurred_at DESC, r.written_at DESC NULLS LAST, r.id DESC) AS reach
        FROM usage_waiting(p_account_id, p_period_start, p_meter) AS r) AS s
    WHERE s.reach - s.charged_units < room;
    IF found.ids IS NULL THEN
        RETURN;
    END IF;
    PERFORM usage_count_again(p_account_id, found.ids, -1);
    WITH allotted AS (
        UPDATE billing_records AS r
        SET included_units = r.included_units + s.units, charged_units = r.charged_units - s.units,
            total_amount = s.total, updated_at = p_at,
            unit_price = CASE WHEN s.by_percentage AND NOT s.is_all
                THEN least(round(s.total / (r.charged_units - s.units), 12), 999999999999999)
                ELSE r.unit_price END,
            currency = CASE WHEN s.is_all THEN 'CREDIT' ELSE r.currency END,
            billing_status = CASE WHEN s.is_all THEN 'completed' ELSE r.billing_status END
        FROM (
            SELECT u.id, u.units, u.units = b.charged_units AS is_all, t.by_percentage, CASE
                WHEN b.total_amount = 0 THEN 0
                -- Its price is by its value, after those before it: that of a unit is an average.
                WHEN t.by_percentage THEN usage_charge_use(usage_price_of(t.price), b.currency,
                    beyond - u.reach, b.charged_units - u.units, NULL)
                ELSE usage_charge_units(b.charged_units - u.units, b.unit_price, b.currency)
                END AS total
            FROM unnest(found.ids, found.units, found.reaches) AS u(id, units, reach)
            JOIN billing_records AS b ON b.id = u.id AND b.month = ANY (usage_months_of(found.ids))
            LEFT JOIN LATERAL (
                SELECT p.price,
                    p.price ->> 'model' IS NOT DISTINCT FROM 'percentage' AS by_percentage
                FROM usage_overage_prices(p_account_id, p_period_start, p_meter) AS p
                WHERE b.occurred_at < p.until OR b.written_at < p.written
                ORDER BY p.place LIMIT 1) AS t ON true) AS s
        WHERE r.id = s.id AND r.month = ANY (usage_months_of(found.ids))
        RETURNING r.id, r.billing_status
    )
    INSERT INTO billing_events (id, account_id, billing_id, status_before, status_after, detail, at)
    SELECT uuidv7(), p_account_id, id, 'pending', 'completed',
        '{"reason": "included after all"}', p_at
    FROM allotted WHERE billing_status = 'completed';
    PERFORM usage_count_again(p_account_id, found.ids, 1);
END;
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
        SELECT n.account, n.period_start, n.meter, c.quantity, c.covered, c.maximum, s.since,
            s.beside
        FROM (
            SELECT account, account_id, period_start, meter, bool_or(lim ? 'shared') AS is_shared
            FROM priced WHERE lim IS NOT NULL OR usage_is_level(counts)
            GROUP BY account, account_id, period_start, meter) AS n
        LEFT JOIN LATERAL (
            SELECT quantity, covered, maximum FROM usage_cycles
            WHERE account_id = n.account_id AND owner = '' AND period_start = n.period_start
                AND meter = n.meter
            LIMIT 1) AS c ON true
        LEFT JOIN LATERAL (
            SELECT since, beside FROM usage_shared(n.account_id, n.period_start, n.meter)
            WHERE n.is_shared LIMIT 1) AS s ON true
    ), counted AS (
        SELECT
            p.row, p.place, p.account, p.meter, p.period_start, p.lim, c.since,
            -- A level that stays beyond a change of its plan counts whole.
            coalesce(CASE WHEN p.lim ?| '{before,beyond}' AND usage_is_level(p.counts)
                THEN c.quantity ELSE c.covered END, 0)
            + coalesce(c.beside - coalesce((p.lim ->> 'carried')::numeric, 0), 0) + CASE
                -- What a plan that blocks has left is not for others where it was claimed
                -- beforehand; claims of these uses themselves are counted as the uses are.
                WHEN p.lim ->> 'then' = 'block' AND NOT (p.row).is_late THEN quota_reserved(
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
            PARTITION BY account, meter, since IS NULL, coalesce(since, period_start)
            ORDER BY place) - delta AS used_before
        FROM counted) AS c
    CROSS JOIN LATERAL (
        SELECT usage_included_units(c.lim, ((c.row).kind).counts, c.used_before, c.delta)
        OFFSET 0) AS x(included)
$$;

CREATE OR REPLACE FUNCTION usage_allowance(p_limit jsonb, OUT included numeric, OUT carried numeric)
LANGUAGE sql IMMUTABLE AS $$
    SELECT (p_limit ->> 'included')::numeric + coalesce((p_limit ->> 'carried')::numeric, 0),
        coalesce((p_limit ->> 'carried')::numeric, 0)
$$;

CREATE OR REPLACE FUNCTION usage_amount_refusal(
    p_kind usage_metered, p_amount numeric, p_max_per_use numeric)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_amount > usage_max_per_use(p_max_per_use) THEN 'USAGE_TOO_LARGE'
        WHEN p_amount = 0 AND NOT usage_is_level(p_kind.counts) THEN 'VALIDATION_FAILED' END
$$;

CREATE OR REPLACE FUNCTION usage_answers_included_fast(
    p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS SETOF usage_answer
LANGUAGE sql STABLE AS $$
    SELECT u.place, 'recorded', u.id, k.meter, k.unit_price, 0::numeric, 'CREDIT',
        'subscription_included', 'completed', false, true, 0::numeric, NULL::numeric
    FROM unnest(p_uses) AS u
    JOIN unnest(p_kinds) AS k ON k.kind = u.kind
$$;

CREATE OR REPLACE FUNCTION usage_as_claimed(p_uses usage_input[]) RETURNS usage_input[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    claimed record;
BEGIN
    IF NOT usage_claims_may_differ() THEN
        RETURN p_uses;
    END IF;
    FOR claimed IN
        SELECT u.at, k.id
        FROM unnest(usage_claimed_ids(ARRAY(
            SELECT u.id FROM unnest(p_uses) AS u WHERE u.event_id IS NOT NULL))) AS k
        JOIN (
            SELECT u.id, u.ordinality AS at FROM unnest(p_uses) WITH ORDINALITY AS u) AS u
            ON u.id = k.asked
    LOOP
        p_uses[claimed.at].id := claimed.id;
    END LOOP;
    RETURN p_uses;
END;
$$;

CREATE OR REPLACE FUNCTION usage_beyond_budgets_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS integer[]
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    WITH left_over AS MATERIALIZED (
        SELECT a.place, b.id, b.measure, b.meter, b.limit_amount - s.used
                - b.captured AS amount
        FROM unnest(p_accounts) AS a
        CROSS JOIN LATERAL (
            SELECT k.id, k.account_id, k.measure, k.meter, k.window_kind, k.limit_amount,
                w.begins, w.ends, budget_captured(k, w.begins, w.ends) AS captured
            FROM budgets AS k
            CROSS JOIN LATERAL budget_window(k.window_kind, a.zone, a.start_at, a.as_of) AS w
            WHERE k.account_id = a.account_id AND k.is_blocking AND k.measure <> 'money'
            OFFSET 0) AS b
        CROSS JOIN LATERAL budget_spent(
            b.account_id, b.measure, b.meter, b.window_kind, b.begins, b.ends) AS s
        WHERE a.budget_mode = 'block'
    )
    SELECT ARRAY(
        SELECT l.place
        FROM unnest(p_uses) AS u
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        JOIN left_over AS l ON l.place = u.account
        WHERE l.measure = 'credits' OR l.meter = k.meter
        GROUP BY l.place, l.id
        HAVING sum(CASE l.measure WHEN 'credits'
            THEN usage_charge_units(u.amount, k.unit_price, 'CREDIT') ELSE u.amount END)
            > min(l.amount))
$$;

CREATE OR REPLACE FUNCTION usage_beyond_quotas_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS integer[]
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
DECLARE
    quoted uuid[] := ARRAY(SELECT a.account_id FROM unnest(p_accounts) AS a WHERE a.has_quotas);
    beyond integer[];
BEGIN
    WITH sums AS MATERIALIZED (
        SELECT s.id, s.account, s.added, s.first_at, s.last_at
        FROM usage_quota_sums_fast(p_accounts, p_kinds, p_uses) AS s
    ), locked AS MATERIALIZED (
        SELECT q.id, q.window_kind, q.span_seconds, q.window_start, q.limit_amount, q.is_hard,
            q.alert_percents, q.used, q.used_before
        FROM billing_quotas AS q WHERE q.id = ANY (ARRAY(SELECT s.id FROM sums AS s))
        ORDER BY q.id FOR NO KEY UPDATE
    )
    SELECT coalesce(array_agg(s.account), '{}') INTO beyond
    FROM sums AS s
    JOIN unnest(p_accounts) AS a ON a.place = s.account
    JOIN locked AS q ON q.id = s.id
    WHERE q.span_seconds IS NOT NULL OR q.used_before <> 0
        OR q.used + s.added > CASE WHEN q.is_hard THEN q.limit_amount
            ELSE 999999999999999 END
        OR EXISTS (
            SELECT FROM unnest(q.alert_percents) AS p(percent)
            WHERE q.used * 100 < q.limit_amount * percent
                AND (q.used + s.added) * 100 >= q.limit_amount * percent)
        OR q.window_start <> ANY (ARRAY(
            SELECT quota_window(q.window_kind, NULL, a.zone, a.start_at, t.at)
            FROM (VALUES (s.first_at), (s.last_at), (a.as_of)) AS t(at)));
    -- Claims are looked for when the quotas are locked: until then some may be made.
    RETURN beyond || ARRAY(
        SELECT a.place
        FROM quota_claims AS c JOIN unnest(p_accounts) AS a ON a.account_id = c.account_id
        WHERE c.account_id = ANY (quoted) AND c.status = 'open' AND (c.expires_at <= a.as_of
            OR c.id IN (SELECT u.id FROM unnest(p_uses) AS u)))
        || ARRAY(
        SELECT a.place
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        JOIN billing_quotas AS d ON d.account_id = a.account_id AND d.meter = k.meter
        WHERE a.has_quotas AND u.user_id IS NOT NULL AND d.owner = 'u*'
            AND NOT EXISTS (
                SELECT FROM billing_quotas AS own
                WHERE own.account_id = d.account_id AND own.meter = d.meter
                    AND own.owner = 'u:' || u.user_id AND own.window_kind = d.window_kind));
END;
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
                AND occurred_at >= p_line.start_at - usage_early_limit()
                -- A change that waited for its money ends the cycle in the past.
                AND occurred_at < greatest(p_line.end_at, p_at) + usage_early_limit()
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
        detail, period_start, day_at, occurred_at, created_at, updated_at, kind,
        month)
    SELECT
        n.id, p_account_id, 0, p_line.meter, 0, 0, 0, 0, p_line.true_up, p_line.currency,
        'subscription_included', 'completed', false, false,
        jsonb_build_object('invoice_id', p_line.invoice), p_line.start_at,
        date_trunc('day', p_at, p_line.zone), p_at, p_at, p_at, 'true_up',
        usage_month_of(n.id, false)
    FROM (SELECT uuidv7() AS id OFFSET 0) AS n
    WHERE p_line.true_up <> 0;

    IF bundle.part > 0 THEN
        PERFORM account_watch(p_account_id, p_at, p_at);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_boundaries(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_near timestamptz,
    p_least integer)
RETURNS SETOF timestamptz
LANGUAGE sql STABLE AS $$
    SELECT usage_instant(p_anchor + CASE s.unit
        WHEN 'month' THEN make_interval(months => n * s.units)
        ELSE make_interval(days => n * s.units) END, p_zone)
    FROM (
        SELECT
            CASE WHEN p_unit IN ('month', 'year') THEN 'month' ELSE 'day' END AS unit,
            p_count * CASE p_unit WHEN 'year' THEN 12 WHEN 'week' THEN 7 ELSE 1 END AS units,
            p_near AT TIME ZONE p_zone AS wall) AS s
    CROSS JOIN LATERAL (
        SELECT div(CASE s.unit
            WHEN 'month' THEN 12 * (extract(year FROM s.wall) - extract(year FROM p_anchor))
                + extract(month FROM s.wall) - extract(month FROM p_anchor)
            ELSE s.wall::date - p_anchor::date END, s.units)::integer AS number) AS near
    CROSS JOIN LATERAL generate_series(
        greatest(p_least, near.number - 2), greatest(p_least, near.number + 2)) AS n
$$;

CREATE OR REPLACE FUNCTION usage_boundary(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_at timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min(b.at)
    FROM usage_boundaries(p_anchor, p_zone, p_unit, p_count, p_at, 1) AS b(at)
    WHERE b.at > p_at
$$;

CREATE OR REPLACE FUNCTION usage_capture(INOUT p_records usage_rated[], p_hold_id uuid)
LANGUAGE plpgsql AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    due usage_rated := p_records[1];
BEGIN
    IF due.total_amount > 0 THEN
        p_records[1].transaction_id := (credit_capture_held(
            ROW(due.account_id, p_hold_id, due.total_amount,
                coalesce(
                    'usage: ' || coalesce((due.kind).product_id, (due.kind).operation), 'usage'),
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

CREATE OR REPLACE FUNCTION usage_carry_over(
    p_account_id uuid, p_limits jsonb, p_since timestamptz, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN m.key IS NULL THEN l.lim
        ELSE l.lim || '{"shared": "true"}' || CASE WHEN b.used = n.carried THEN '{}'
            ELSE jsonb_build_object(
                'included', trim_scale(n.included - least(n.included, b.used))::text,
                'carried', trim_scale(least(n.included, b.used))::text) END END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    CROSS JOIN LATERAL usage_allowance(l.lim) AS n
    LEFT JOIN meters AS m ON m.key = l.meter AND NOT usage_is_level(m.kind)
    LEFT JOIN usage_used_beside(p_account_id, p_since, p_start) AS u ON u.meter = l.meter
    CROSS JOIN LATERAL (SELECT coalesce(u.quantity, 0)) AS b(used)
$$;

CREATE OR REPLACE FUNCTION usage_charge_after(
    p_price usage_price, p_currency text, p_before numeric, p_units numeric, p_paid numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_price.model = 'volume'
            THEN greatest(0, usage_round(c.after, p_currency) - greatest(
                usage_round(c.before, p_currency),
                -- At most what this price can have cost: they may have been dearer under another.
                least(p_paid, usage_round(
                    usage_highest(p_price.free_units, p_price.tiers, p_before), p_currency))))
        ELSE usage_round(greatest(0, c.after - c.before), p_currency) END
    FROM (SELECT
        usage_cost(p_price.model, p_price.unit_price, p_price.package_size, p_price.free_units,
            p_price.tiers, p_before + p_units) AS after,
        usage_cost(p_price.model, p_price.unit_price, p_price.package_size, p_price.free_units,
            p_price.tiers, p_before) AS before) AS c
$$;

CREATE OR REPLACE FUNCTION usage_charge_use(
    p_price usage_price, p_currency text, p_before numeric, p_units numeric, p_uses bigint)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN v.value <= 0 OR p_uses < (p_price.tiers ->> 'free_transactions')::bigint THEN 0
        ELSE usage_round(
            usage_cost('percentage', 0, 1, 0, p_price.tiers, v.value), p_currency) END
    FROM (SELECT least(p_units, p_before + p_units - p_price.free_units) AS value) AS v
$$;

CREATE OR REPLACE FUNCTION usage_charges_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS usage_due[]
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    SELECT coalesce(array_agg(ROW(
        d.account, d.share, d.method, a.account_id, a.as_of, d.amount, d.key, d.reason,
        d.method = 'wallet_deduction')::usage_due ORDER BY d.first), '{}')
    FROM (
        SELECT
            u.account, u.share, k.method, min(u.place) AS first,
            sum(usage_charge_units(u.amount, k.unit_price, 'CREDIT')) AS amount,
            'usage/' || (array_agg(u.id ORDER BY u.place))[1] AS key,
            CASE WHEN count(*) = 1 THEN 'usage: ' || min(k.product_id)
                ELSE 'usage: ' || count(*) || ' records' END AS reason
        FROM unnest(p_uses) AS u JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        WHERE k.unit_price > 0
        GROUP BY u.account, u.share, k.method) AS d
    JOIN unnest(p_accounts) AS a ON a.place = d.account
$$;

CREATE OR REPLACE FUNCTION usage_claimed_ids(p_ids uuid[]) RETURNS usage_repeat[]
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    claimed usage_repeat[] := '{}';
    there record;
BEGIN
    IF NOT usage_claims_may_differ() THEN
        RETURN claimed;
    END IF;
    FOR there IN SELECT o.asked, o.low, o.high FROM usage_other_ids(p_ids) AS o LOOP
        claimed := claimed || ARRAY(
            SELECT ROW(i.asked, c.id)::usage_repeat
            FROM unnest(there.asked, there.low, there.high) AS i(asked, low, high)
            CROSS JOIN LATERAL (
                SELECT k.id, k.status FROM quota_claims AS k
                WHERE k.id >= i.low AND k.id <= i.high
                ORDER BY k.id LIMIT 1) AS c
            WHERE c.status = 'open' AND c.id <> i.asked);
    END LOOP;
    RETURN claimed;
END;
$$;

CREATE OR REPLACE FUNCTION usage_claims_may_differ() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM usage_months
        WHERE ends_at > clock_timestamp() - interval '1 day'
                AND ends_at <= clock_timestamp() + interval '1 hour'
            OR month = usage_first_month() AND ends_at > clock_timestamp())
$$;

CREATE OR REPLACE FUNCTION usage_coming(
    p_account_id uuid, p_meter text, p_at timestamptz, p_also timestamptz[],
    p_freed timestamptz[], p_most integer)
RETURNS TABLE (
    at timestamptz, start_at timestamptz, end_at timestamptz, zone text, subscription_id uuid,
    currency text, limits jsonb, no_entitlement text, carried_since timestamptz, is_known boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    instants timestamptz[] := '{}';
    since timestamptz := p_at;
    change timestamptz;
    ends timestamptz;
BEGIN
    FOR turn IN 1 .. p_most LOOP
        SELECT d.end_at, least(d.plan_changes_at, (
            SELECT min(t.at) FROM limit_overrides AS o
            CROSS JOIN LATERAL (VALUES (o.effective_from), (o.effective_to)) AS t(at)
            WHERE o.account_id = p_account_id AND o.meter = p_meter AND t.at > since))
        INTO ends, change FROM usage_due_period(p_account_id, since) AS d;
        IF change IS NULL OR ends < change THEN
            instants := instants || ends
                || (SELECT d.end_at FROM usage_due_period(p_account_id, ends) AS d);
        END IF;
        EXIT WHEN change IS NULL;
        instants := instants || change;
        since := change;
    END LOOP;
    RETURN QUERY
    SELECT i.at, d.start_at, d.end_at, d.zone, d.subscription_id, d.currency, d.limits,
        d.no_entitlement, d.carried_since, coalesce(i.at < k.until, true)
    FROM (
        SELECT unnest(instants || p_also) UNION
        SELECT f.at FROM unnest(p_freed) AS f(at)
        WHERE f.at > (SELECT min(a.at) FROM unnest(instants) AS a(at))) AS i(at)
    CROSS JOIN LATERAL usage_due_period(p_account_id, i.at) AS d
    CROSS JOIN (SELECT usage_terms_known_until(p_account_id)) AS k(until)
    WHERE d.start_at IS NOT NULL
    ORDER BY i.at;
END;
$$;

CREATE OR REPLACE FUNCTION usage_common_price(
    p_account_id uuid, p_period_start timestamptz, p_meter text)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
DECLARE
    prices jsonb[] := ARRAY(
        SELECT DISTINCT price FROM usage_overage_prices(p_account_id, p_period_start, p_meter));
BEGIN
    -- The uses are looked through only where the price has changed.
    IF cardinality(prices) > 1 THEN
        prices := ARRAY(
            WITH terms AS MATERIALIZED (
                SELECT place, until, written, price
                FROM usage_overage_prices(p_account_id, p_period_start, p_meter)
            )
            SELECT DISTINCT t.price
            FROM terms AS t
            WHERE EXISTS (
                SELECT FROM billing_records AS r
                WHERE r.account_id = p_account_id AND r.period_start = p_period_start
                    AND r.occurred_at >= p_period_start - usage_early_limit()
                    AND r.meter = p_meter AND r.kind = 'usage' AND r.voids IS NULL
                    AND r.billing_method = 'subscription_included' AND r.currency <> 'CREDIT'
                    AND r.charged_units > 0 AND (r.billing_status <> 'refunded' OR EXISTS (
                        SELECT FROM billing_records AS v
                        WHERE v.id = usage_void_id(r.id) AND v.month = r.month
                            AND v.billing_method = 'payment_charge'))
                    AND (r.occurred_at < t.until OR r.written_at < t.written)
                    AND NOT EXISTS (
                        SELECT FROM terms AS e
                        WHERE e.place < t.place
                            AND (r.occurred_at < e.until OR r.written_at < e.written))));
    END IF;
    RETURN CASE WHEN cardinality(prices) = 1 THEN prices[1] END;
END;
$$;

CREATE OR REPLACE FUNCTION usage_complete(
    p_account_id uuid, p_records uuid[], p_invoice text, p_at timestamptz)
RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    completed uuid[];
BEGIN
    WITH done AS (
        UPDATE billing_records
        SET billing_status = 'completed', updated_at = p_at
        WHERE id = ANY (p_records) AND month = ANY (usage_months_of(p_records))
            AND account_id = p_account_id AND billing_status = 'pending'
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

CREATE OR REPLACE FUNCTION usage_correct_counters(
    p_account_id uuid, p_counters jsonb, p_day timestamptz, p_end timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH counted AS MATERIALIZED (
        SELECT owner, grain, period_start, bucket, meter, facet, w.quantity, w.events, w.maximum,
            w.last_value, w.last_at, w.credits, w.overage, w.overage_total
        FROM jsonb_to_recordset(p_counters) AS x(
            owner text, grain text, period_start timestamptz, bucket timestamptz, meter text,
            facet text)
        LEFT JOIN usage_counted_between(p_account_id, '-infinity', p_day, p_end) AS w
            USING (owner, grain, period_start, bucket, meter, facet)
    ), gone AS (
        DELETE FROM usage_counters AS u USING counted AS x
        WHERE x.events IS NULL AND u.account_id = p_account_id
            AND (u.owner, u.grain, u.period_start, u.bucket, u.meter, u.facet)
                = (x.owner, x.grain, x.period_start, x.bucket, x.meter, x.facet)
    )
    INSERT INTO usage_counters (
        account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
        maximum, last_value, last_at, credits, overage, overage_total)
    SELECT p_account_id, owner, grain, period_start, bucket, meter, facet, quantity, events,
        maximum, last_value, last_at, credits, overage, overage_total
    FROM counted WHERE events IS NOT NULL
    ON CONFLICT (account_id, owner, grain, period_start, bucket, meter, facet) DO UPDATE SET
        quantity = excluded.quantity, events = excluded.events, maximum = excluded.maximum,
        last_value = excluded.last_value, last_at = excluded.last_at,
        credits = excluded.credits, overage = excluded.overage,
        overage_total = excluded.overage_total
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
    ELSIF p_model = 'percentage' THEN
        -- As one use; `p_tiers` are the terms of the percentage, their factor exact.
        RETURN least((p_tiers ->> 'maximum')::numeric, greatest((p_tiers ->> 'minimum')::numeric,
            (p_tiers ->> 'fixed_price')::numeric + paid * (p_tiers ->> 'percent')::numeric * 0.01));
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
        SELECT a AS row, (a.use).place, (a.kind).meter, a.account_id, a.period_start, a.rest,
            CASE WHEN a.by_plan THEN '' ELSE 'p:' || (a.kind).product_id END AS owner,
            CASE WHEN a.by_plan THEN a.money ELSE a.paid_in END AS currency, x.price,
            a.rest > 0 AND CASE WHEN a.by_plan THEN a.lim ->> 'then' = 'overage'
                ELSE (x.price).model IS NOT NULL AND a.refusal IS NULL END AS costs,
            (x.price).model <> 'per_unit' OR (x.price).free_units > 0 AS goes_on,
            -- By a percentage; of tiers nothing.
            ((x.price).tiers ->> 'free_transactions')::bigint AS free_uses
        FROM usage_allotted(p_accounts, p_kinds, p_uses) AS a
        CROSS JOIN LATERAL (SELECT CASE WHEN a.by_plan THEN usage_price_of(a.lim -> 'price')
            ELSE a.price END OFFSET 0) AS x(price)
    ), seen AS MATERIALIZED (
        SELECT n.account_id, n.period_start, n.owner, n.meter, n.currency, b.*
        FROM (
            SELECT account_id, period_start, owner, meter, currency, max(free_uses) AS free_uses
            FROM allotted WHERE costs AND goes_on
            GROUP BY account_id, period_start, owner, meter, currency) AS n
        CROSS JOIN LATERAL usage_priced_before(
            n.account_id, n.owner, n.meter, n.period_start, n.currency, n.free_uses) AS b
    ), reached AS (
        SELECT p.*, CASE WHEN (p.price).model = 'volume' AND p.costs
            THEN usage_round(usage_cost((p.price).model, (p.price).unit_price,
                (p.price).package_size, (p.price).free_units, (p.price).tiers,
                p.units_before + p.rest), p.currency) END AS cost_then
        FROM (
            SELECT a.*, b.cost AS cost_before, coalesce(b.since, a.period_start) AS since,
                coalesce(b.uses, 0) - 1 + count(*) FILTER (WHERE a.costs AND a.goes_on) OVER (
                    PARTITION BY a.account_id, a.owner, a.meter, coalesce(b.since, a.period_start)
                    ORDER BY a.place) AS uses_before,
                coalesce(b.units, 0) - a.rest
                    + sum(CASE WHEN a.costs AND a.goes_on THEN a.rest ELSE 0 END) OVER (
                        PARTITION BY a.account_id, a.owner, a.meter,
                            coalesce(b.since, a.period_start)
                        ORDER BY a.place) AS units_before
            FROM allotted AS a
            LEFT JOIN seen AS b
                ON a.goes_on AND b.account_id = a.account_id AND b.owner = a.owner
                AND b.period_start = a.period_start AND b.meter = a.meter
                AND b.currency = a.currency) AS p
    )
    SELECT (r.row).*, CASE
        WHEN NOT r.costs THEN 0
        WHEN NOT r.goes_on THEN usage_charge_units(r.rest, (r.price).unit_price, r.currency)
        WHEN (r.price).model = 'percentage' THEN usage_charge_use(
            r.price, r.currency, r.units_before, r.rest, r.uses_before)
        ELSE usage_charge_after(r.price, r.currency, r.units_before, r.rest,
            coalesce(greatest(r.cost_before, max(r.cost_then) OVER (
                PARTITION BY r.account_id, r.owner, r.meter, r.since, r.currency
                ORDER BY r.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)), 0))
        END
    FROM reached AS r
$$;

CREATE OR REPLACE FUNCTION usage_count_again(
    p_account_id uuid, p_records uuid[], p_sign integer)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
    SELECT usage_add_counters(array_agg(ROW(
        p_account_id, s.owner, s.grain, s.period_start, s.bucket, s.meter, s.facet,
        p_sign * s.units, p_sign * s.events, greatest(0, s.maximum), greatest(0, s.maximum),
        'epoch', p_sign * s.credits, p_sign * s.overage,
        p_sign * s.overage_total)::usage_counter_sum))
    FROM (
        SELECT c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet, sum(c.units) AS units,
            count(*) AS events, max(r.usage_amount) AS maximum,
            coalesce(sum(r.total_amount) FILTER (WHERE r.currency = 'CREDIT'), 0) AS credits,
            coalesce(sum(r.charged_units) FILTER (WHERE r.currency <> 'CREDIT'), 0) AS overage,
            coalesce(sum(r.total_amount) FILTER (WHERE r.currency <> 'CREDIT'), 0)
                AS overage_total
        FROM (
            SELECT r.*,
                -- As it was when it was counted first, if it was: by its hour, the price of its
                -- time.
                r.meter IN (SELECT key FROM meters WHERE hourly) AND EXISTS (
                    SELECT FROM usage_counters AS h
                    WHERE h.account_id = p_account_id AND h.owner = '' AND h.grain = 'hour'
                        AND h.period_start = r.period_start AND h.meter = r.meter
                        AND h.bucket = date_trunc('hour', r.occurred_at)) AS is_hourly,
                (r.voids IS NULL OR NOT usage_was_by_plan(r.voids, r.month, r.currency))
                AND EXISTS (
                    SELECT FROM usage_counters AS p
                    WHERE p.account_id = p_account_id AND p.owner = 'p:' || r.product_id
                        AND p.grain = 'day' AND p.period_start = r.period_start
                        AND p.bucket = r.day_at)
                AND usage_had_tiers(
                    p_account_id, r.product_id, CASE WHEN NOT r.is_free_tier THEN r.currency END,
                    r.occurred_at) AS is_graded
            FROM billing_records AS r
            WHERE r.id = ANY (p_records)
                AND r.month = ANY (usage_months_of(p_records))
                AND r.account_id = p_account_id
            OFFSET 0) AS r
        CROSS JOIN LATERAL usage_counters_of(ROW(
            usage_facet(r.service_type, r.billing_method, r.billing_status, r.currency),
            r.user_id, r.organization_id, r.operation, r.model, r.product_id, r.is_hourly,
            r.is_graded, r.included_units + r.charged_units, r.charged_units, r.total_amount,
            r.currency, r.is_free_tier, r.day_at, r.occurred_at)::usage_countable) AS c
        GROUP BY c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet) AS s
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
    )
    -- By columns alone, without constants: else a plan that was made while the table was empty
    -- reads all of it, and looks through the sums for each row.
    MERGE INTO usage_counters AS c
    USING (
        SELECT o.* FROM usage_own_sums_fast(p_accounts, p_kinds, p_uses) AS o
        UNION ALL
        SELECT d.* FROM detailed CROSS JOIN LATERAL usage_detail_sums_fast(
            p_accounts, p_kinds, p_uses) AS d
        WHERE detailed.yes
        -- In the order of the index: neighbours are met one after the other.
        ORDER BY account_id) AS g
    ON c.account_id = g.account_id AND c.owner = g.owner AND c.grain = g.grain
        AND c.period_start = g.period_start AND c.bucket = g.bucket AND c.meter = g.meter
        AND c.facet = g.facet
    WHEN MATCHED THEN UPDATE SET
        quantity = c.quantity + g.quantity,
        events = c.events + g.events,
        maximum = greatest(c.maximum, g.maximum),
        last_value = CASE WHEN g.last_at >= c.last_at THEN g.last_value ELSE c.last_value END,
        last_at = greatest(c.last_at, g.last_at),
        credits = c.credits + g.credits
    WHEN NOT MATCHED THEN INSERT (
        account_id, owner, grain, period_start, bucket, meter, facet, quantity, events, maximum,
        last_value, last_at, credits, overage, overage_total)
    VALUES (
        g.account_id, g.owner, g.grain, g.period_start, g.bucket, g.meter, g.facet, g.quantity,
        g.events, g.maximum, g.last_value, g.last_at, g.credits, g.overage, g.overage_total)
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
                array_agg(ROW((use).id, (use).user_id, (use).organization_id, meter,
                    included_units + charged_units, (use).used_at, period_start)::quota_timed_use)
                    AS uses
            FROM unnest(p_records)
            WHERE account_id = ANY (quoted)
            GROUP BY account_id
        LOOP
            PERFORM set_config('app.accounts', one.account_id::text, true);
            PERFORM quota_apply(one.account_id, one.uses, one.at);
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

CREATE OR REPLACE FUNCTION usage_count_quotas_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH sums AS MATERIALIZED (
        SELECT s.id, s.added, a.as_of
        FROM usage_quota_sums_fast(p_accounts, p_kinds, p_uses) AS s
        JOIN unnest(p_accounts) AS a ON a.place = s.account
    )
    UPDATE billing_quotas AS q SET used = q.used + s.added, updated_at = s.as_of
    FROM sums AS s
    WHERE q.id = s.id AND s.added > 0
$$;

CREATE OR REPLACE FUNCTION usage_counted_between(
    p_account_id uuid, p_since timestamptz, p_day timestamptz, p_end timestamptz)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    quantity numeric, events bigint, maximum numeric, last_value numeric, last_at timestamptz,
    credits numeric, overage numeric, overage_total numeric)
LANGUAGE sql STABLE AS $$
    SELECT
        c.owner, c.grain, c.period_start, c.bucket, c.meter, c.facet, sum(c.quantity),
        sum(c.events)::bigint, max(c.maximum),
        (array_agg(c.last_value ORDER BY c.last_at DESC))[1], max(c.last_at), sum(c.credits),
        sum(c.overage), sum(c.overage_total)
    FROM (
        SELECT
            h.owner, h.grain, h.period_start, h.bucket, h.meter, h.facet, h.quantity, h.events,
            h.maximum, h.last_value, h.last_at, h.credits, h.overage, h.overage_total
        FROM usage_counted_in(
            p_account_id, p_since, '-infinity', 'infinity', p_day, p_end) AS h
        UNION ALL
        SELECT
            s.owner, s.grain, s.period_start, s.bucket, s.meter, s.facet, s.quantity, s.events,
            s.maximum, s.last_value, s.last_at, s.credits, s.overage, s.overage_total
        FROM sealed_counters AS s
        WHERE s.account_id = p_account_id AND s.period_start >= p_since
            AND s.bucket >= p_day AND s.bucket < p_end
            AND (s.owner NOT LIKE 'p:%'
                OR substr(s.owner, 3) = ANY (usage_tiered_products(p_account_id)))) AS c
    GROUP BY c.owner, c.grain, c.period_start, c.bucket, c.meter, c.facet
$$;

CREATE OR REPLACE FUNCTION usage_counted_in(
    p_account_id uuid, p_since timestamptz, p_month date, p_until date, p_day timestamptz,
    p_end timestamptz)
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
        r.product_id = ANY (t.products)
            AND (r.voids IS NULL OR NOT usage_was_by_plan(r.voids, r.month, r.currency)),
        r.included_units + r.charged_units, r.charged_units, r.total_amount, r.currency,
        r.is_free_tier, r.day_at, r.occurred_at)::usage_countable) AS c
    -- The cycle decides; the time only narrows what is read.
    WHERE r.account_id = p_account_id AND r.occurred_at >= p_since - usage_early_limit()
        AND r.kind = 'usage' AND r.period_start >= p_since
        AND r.day_at >= p_day AND r.occurred_at >= p_day - usage_early_limit()
        AND r.occurred_at < p_end
        AND r.month >= p_month AND r.month < p_until
    GROUP BY c.owner, c.grain, r.period_start, c.bucket, r.meter, c.facet
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
            CASE WHEN count(*) = 1 THEN coalesce(
                'usage: ' || min(coalesce((r.kind).product_id, (r.kind).operation)), 'usage')
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

CREATE OR REPLACE FUNCTION usage_default_terms(
    p_account_id uuid, p_at timestamptz, p_is_past boolean,
    OUT plan_id uuid, OUT limits jsonb, OUT no_entitlement text)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.id,
        CASE WHEN p.id IS NULL THEN '{}' ELSE usage_limits_of(
            CASE WHEN p_is_past THEN usage_limits_agreed_at(p_account_id, p.limits, p_at)
                ELSE usage_agreed_limits(p_account_id, p.limits, p_at) END,
            'active', 'full', NULL) END,
        CASE WHEN p.id IS NULL THEN 'no_subscription' END
    FROM (SELECT plan_by_default() AS id) AS d LEFT JOIN plans AS p ON p.id = d.id
$$;

CREATE OR REPLACE FUNCTION usage_detail_counters(p_use usage_countable)
RETURNS TABLE (owner text, grain text, bucket timestamptz, units numeric)
LANGUAGE sql STABLE AS $$
    SELECT 'a:' || p_use.operation, 'day', p_use.day_at, p_use.units
    WHERE p_use.operation IS NOT NULL
    UNION ALL
    SELECT 'm:' || p_use.model, 'day', p_use.day_at, p_use.units WHERE p_use.model IS NOT NULL
    UNION ALL
    SELECT 'o:' || p_use.organization_id, 'day', p_use.day_at, p_use.units
    WHERE p_use.organization_id IS NOT NULL
    UNION ALL
    SELECT 'u:' || p_use.user_id, 'day', p_use.day_at, p_use.units WHERE p_use.user_id IS NOT NULL
    UNION ALL
    SELECT '', 'hour', date_trunc('hour', p_use.occurred_at), p_use.units
    WHERE p_use.is_hourly
    UNION ALL
    SELECT 'p:' || p_use.product_id, 'day', p_use.day_at, p_use.charged_units
    -- Not what goes beyond the plan's allowance, at the plan's price or for nothing.
    WHERE p_use.is_graded AND (p_use.total_amount <> 0 OR p_use.is_free_tier)
        AND (p_use.currency = 'CREDIT' OR split_part(p_use.facet, '|', 2) = 'payment_charge')
    UNION ALL
    SELECT 'i:', 'day', p_use.day_at, p_use.units - p_use.charged_units
    WHERE p_use.currency = 'CREDIT' AND p_use.total_amount <> 0
        AND p_use.units <> p_use.charged_units
$$;

CREATE OR REPLACE FUNCTION usage_differing_counters(p_account_id uuid, p_since timestamptz)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    kept_quantity numeric, true_quantity numeric, kept_events bigint, true_events bigint)
LANGUAGE sql STABLE
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    WITH compared AS (
        SELECT owner, grain, period_start, bucket, meter, facet, w.quantity, w.events,
            c.quantity AS kept_quantity, c.events AS kept_events,
            (coalesce(w.quantity, 0), coalesce(w.events, 0), coalesce(w.credits, 0),
                coalesce(w.overage, 0), coalesce(w.overage_total, 0))
            <> (coalesce(c.quantity, 0), coalesce(c.events, 0), coalesce(c.credits, 0),
                coalesce(c.overage, 0), coalesce(c.overage_total, 0)) AS has_other_sums,
            w.maximum IS DISTINCT FROM c.maximum AND owner = '' AND grain = 'day'
                AND max(w.maximum) OVER day <> max(c.maximum) OVER day AS is_otherwise_highest
        FROM usage_counted_between(p_account_id, p_since, '-infinity', 'infinity') AS w
        FULL JOIN (
            SELECT u.owner, u.grain, u.period_start, u.bucket, u.meter, u.facet, u.quantity,
                u.events, u.maximum, u.credits, u.overage, u.overage_total
            FROM usage_counters AS u
            WHERE u.account_id = p_account_id AND u.period_start >= p_since
                AND (u.owner NOT LIKE 'p:%'
                    OR substr(u.owner, 3) = ANY (usage_tiered_products(p_account_id)))
        ) AS c USING (owner, grain, period_start, bucket, meter, facet)
        WINDOW day AS (PARTITION BY owner, grain, period_start, bucket, meter)
    )
    SELECT owner, grain, period_start, bucket, meter, facet, kept_quantity, quantity, kept_events,
        events
    FROM compared
    WHERE (has_other_sums OR is_otherwise_highest) AND (grain <> 'hour' OR EXISTS (
        SELECT FROM meters AS m
        WHERE m.key = meter AND m.hourly
            AND bucket >= coalesce(m.hourly_since + interval '1 hour', '-infinity')))
    ORDER BY grain, period_start, bucket, owner, meter, facet
$$;

CREATE OR REPLACE FUNCTION usage_due_in_credits(p_record billing_records)
RETURNS TABLE (unit_price numeric, total numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p_record.unit_price, p_record.total_amount
    WHERE p_record.currency = 'CREDIT'
    UNION ALL
    SELECT t.unit_price, c.total
    FROM (
        SELECT p.currency, p.unit_price, p.model = 'per_unit' AND p.free_units = 0 AS is_plain
        FROM (
            SELECT 1 AS rank, currency, unit_price, model, free_units, effective_from
            FROM price_overrides
            WHERE account_id = p_record.account_id AND product = p_record.product_id
                AND (currency = 'CREDIT' OR source = 'service')
                AND effective_from <= p_record.occurred_at
                AND p_record.occurred_at < coalesce(effective_to, 'infinity')
            UNION ALL
            SELECT 2, currency, unit_price, model, free_units, effective_from
            FROM product_prices
            WHERE product = p_record.product_id
                AND currency = 'CREDIT' AND effective_from <= p_record.occurred_at
                AND p_record.occurred_at < coalesce(effective_to, 'infinity')) AS p
        ORDER BY p.rank, p.currency = 'CREDIT' DESC, p.effective_from DESC LIMIT 1) AS t
    CROSS JOIN LATERAL (
        SELECT usage_charge_units(p_record.charged_units, t.unit_price, 'CREDIT') AS total) AS c
    WHERE p_record.currency <> 'CREDIT' AND t.currency = 'CREDIT' AND t.is_plain AND c.total > 0
$$;

CREATE OR REPLACE FUNCTION usage_due_period(
    p_account_id uuid, p_at timestamptz,
    OUT subscription_id uuid, OUT plan_id uuid, OUT start_at timestamptz, OUT end_at timestamptz,
    OUT zone text, OUT currency text, OUT limits jsonb, OUT no_entitlement text,
    OUT carried_since timestamptz, OUT plan_changes_at timestamptz, OUT terms_until timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    known record;
    given record := usage_plan_period(p_account_id, p_at);
BEGIN
    SELECT p.start_at, p.end_at, p.zone, p.subscription_id, p.no_entitlement INTO known
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    subscription_id := given.subscription_id;
    plan_id := given.plan_id;
    start_at := given.start_at;
    end_at := given.end_at;
    zone := given.zone;
    currency := given.currency;
    no_entitlement := given.no_entitlement;
    carried_since := given.carried_since;
    IF known.end_at > p_at AND known.subscription_id IS NOT DISTINCT FROM subscription_id THEN
        IF given.is_month THEN
            -- A changed zone waits for the next month.
            end_at := known.end_at;
            zone := known.zone;
            carried_since := (usage_month(zone, p_at)).start_at;
        END IF;
        IF no_entitlement = 'paused' AND known.no_entitlement IS NULL THEN
            -- What was used until a pause may still come: it was given then.
            start_at := greatest(p_at, known.start_at + interval '1 microsecond');
        ELSIF given.is_month THEN
            start_at := known.start_at;
        ELSIF known.start_at > start_at AND known.start_at < end_at THEN
            start_at := known.start_at;
        END IF;
    ELSIF known.end_at > p_at AND (given.is_month
        OR known.start_at + interval '1 microsecond' < end_at AND (known.start_at > start_at
            OR known.start_at = start_at AND known.subscription_id IS NOT NULL))
    THEN
        -- What ends keeps its row, even at the instant it began: no two begin at once, and what
        -- follows is the latest.
        start_at := greatest(start_at,
            CASE WHEN given.is_month THEN least(p_at, given.ended_at) END,
            known.start_at + interval '1 microsecond');
    ELSIF given.is_month THEN
        start_at := greatest(start_at, known.end_at, given.ended_at);
    END IF;
    limits := CASE WHEN given.carries_limits IS NOT TRUE THEN given.limits
        ELSE usage_carry_over(p_account_id, given.limits, carried_since, start_at) END;
    IF carried_since IS NOT NULL AND limits @? '$.*.price ? (@.type() == "object")' THEN
        limits := usage_free_left(p_account_id, limits, carried_since, start_at);
    END IF;
    plan_changes_at := given.changes_at;
    terms_until := nullif(least(end_at, plan_changes_at, (
        SELECT min(t.at) FROM limit_overrides AS o
        CROSS JOIN LATERAL (VALUES (o.effective_from), (o.effective_to)) AS t(at)
        WHERE o.account_id = p_account_id AND t.at > p_at)), end_at);
END;
$$;

CREATE OR REPLACE FUNCTION usage_early_limit() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT interval '5 minutes'
$$;

CREATE OR REPLACE FUNCTION usage_ensure_past_period(p_account_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE sql AS $$
    INSERT INTO usage_periods (
        id, account_id, start_at, end_at, zone, plan_id, limits, no_entitlement, carried_since,
        closed_at)
    SELECT uuidv7(), p_account_id, s.start_at,
        least(m.end_at, (
            SELECT min(start_at) FROM usage_periods
            WHERE account_id = p_account_id AND start_at > p_at)),
        a.zone, d.plan_id, usage_carry_over(a.id, d.limits, m.start_at, s.start_at),
        d.no_entitlement, m.start_at, p_at
    FROM accounts AS a CROSS JOIN LATERAL usage_month(a.zone, p_at) AS m
    CROSS JOIN LATERAL usage_default_terms(a.id, p_at, true) AS d
    LEFT JOIN LATERAL (
        SELECT end_at, subscription_id FROM usage_periods
        WHERE account_id = p_account_id AND start_at <= p_at
        ORDER BY start_at DESC LIMIT 1) AS b ON true
    CROSS JOIN LATERAL (SELECT greatest(m.start_at, b.end_at)) AS s(start_at)
    WHERE a.id = p_account_id
        AND coalesce(b.end_at <= p_at AND b.subscription_id IS NULL, true)
    ON CONFLICT DO NOTHING
$$;

CREATE OR REPLACE FUNCTION usage_entry_months(p_entry uuid, p_key text, p_subject text)
RETURNS date[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY[
        (usage_month_of(p_entry, false) - interval '1 month')::date,
        usage_month_of(p_entry, false),
        (usage_month_of(p_entry, false) + interval '1 month')::date,
        usage_month_of(substring(p_key FROM '^usage/([-0-9a-f]{36})$')::uuid, false),
        usage_month_of(public_uuid(p_subject), false),
        usage_first_month()]
$$;

CREATE OR REPLACE FUNCTION usage_first_month() RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT DATE '1970-01-01'
$$;

CREATE OR REPLACE FUNCTION usage_follow_growth(
    p_account_id uuid, p_period_start timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT l.meter, CASE WHEN l.lim ? 'beyond' THEN c.overage - (l.lim ->> 'beyond')::numeric
                - greatest(0, c.quantity - (l.lim ->> 'included')::numeric)
            ELSE least(c.overage, (l.lim ->> 'included')::numeric - c.covered) END AS units
        FROM usage_periods AS p
        CROSS JOIN LATERAL jsonb_each(p.limits) AS l(meter, lim)
        CROSS JOIN LATERAL (
            SELECT quantity, overage, covered FROM usage_cycles
            WHERE account_id = p_account_id AND owner = '' AND period_start = p_period_start
                AND meter = l.meter
            LIMIT 1) AS c
        WHERE p.account_id = p_account_id AND p.start_at = p_period_start
    LOOP
        IF one.units > 0 THEN
            PERFORM usage_allot_again(p_account_id, p_period_start, one.meter, one.units, p_at);
            PERFORM usage_price_again(p_account_id, p_period_start, one.meter, p_at);
        END IF;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_follow_past(
    p_account_id uuid, p_used_at timestamptz, p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT usage_open_period(p_account_id, p_at)
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id AND p.carried_since <= p_used_at AND p_used_at < p.start_at
$$;

CREATE OR REPLACE FUNCTION usage_free_left(
    p_account_id uuid, p_limits jsonb, p_since timestamptz, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(l.meter, CASE
        WHEN u.meter IS NULL OR u.units + u.uses = 0 THEN l.lim
        ELSE jsonb_set(l.lim, '{price}', usage_price_without_free(
            l.lim -> 'price', u.units, u.uses)) END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    LEFT JOIN usage_free_used(p_account_id, p_since, p_start) AS u
        ON u.meter = l.meter AND jsonb_typeof(l.lim -> 'price') = 'object'
$$;

CREATE OR REPLACE FUNCTION usage_free_units(p_price jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(p_price) <> 'object' THEN 0
        ELSE coalesce((p_price ->> 'free_units')::numeric, 0) + coalesce((
            SELECT max(coalesce((t.tier ->> 'up_to')::numeric, 'Infinity'))
            FROM (
                SELECT tier, bool_or((tier ->> 'unit_price')::numeric > 0
                    OR (tier ->> 'flat_price')::numeric > 0) OVER (ORDER BY place) AS costs
                FROM jsonb_array_elements(nullif(p_price -> 'tiers', 'null'))
                    WITH ORDINALITY AS one(tier, place)) AS t
            WHERE NOT coalesce(t.costs, false)), 0) END
$$;

CREATE OR REPLACE FUNCTION usage_free_used(
    p_account_id uuid, p_since timestamptz, p_start timestamptz)
RETURNS TABLE (meter text, units numeric, uses bigint)
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT c.meter, sum(f.units), sum(f.uses)::bigint
    FROM usage_periods AS p
    CROSS JOIN LATERAL (
        SELECT meter, sum(overage) AS units,
            coalesce(sum(overage) FILTER (WHERE bucket < p_since), 0) AS before
        FROM usage_counters
        WHERE account_id = p_account_id AND owner = '' AND grain = 'day'
            AND period_start = p.start_at AND split_part(facet, '|', 2) <> 'payment_charge'
        GROUP BY meter HAVING sum(overage) > 0 OFFSET 0) AS c
    JOIN meters AS m ON m.key = c.meter AND NOT usage_is_level(m.kind)
    -- Of several prices that the cycle had, the one that gave most.
    CROSS JOIN LATERAL (
        SELECT coalesce(max(usage_given_free(price, c.units)
                - usage_given_free(price, c.before)), 0) AS units,
            max((price -> 'percentage' ->> 'free_transactions')::bigint) AS most
        FROM usage_overage_prices(p_account_id, p.start_at, c.meter)) AS g
    CROSS JOIN LATERAL (
        SELECT g.units, count(*) AS uses FROM (
            SELECT FROM billing_records AS r
            WHERE r.account_id = p_account_id AND r.meter = c.meter AND r.kind = 'usage'
                AND r.period_start = p.start_at AND r.charged_units > 0 AND r.total_amount = 0
                AND r.billing_status <> 'refunded' AND r.currency <> 'CREDIT'
                AND r.billing_method = 'subscription_included' AND g.most > 0
                AND r.occurred_at >= greatest(p.start_at - usage_early_limit(), p_since)
            LIMIT coalesce(g.most, 0)) AS seen) AS f
    WHERE p.account_id = p_account_id AND p.start_at < p_start AND p.end_at > p_since
    GROUP BY c.meter
$$;

CREATE OR REPLACE FUNCTION usage_funds_fast(
    p_dues usage_due[], OUT short integer[], OUT apart integer[], OUT expired integer[],
    OUT covered integer[], OUT lots uuid[])
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT
        coalesce(array_agg(d.account) FILTER (
            WHERE t.there < d.amount OR l.scope IS NOT NULL), '{}'),
        coalesce(array_agg(d.account) FILTER (
            WHERE d.is_mixed OR b.top_up_below > t.there - d.amount), '{}'),
        coalesce(array_agg(d.account) FILTER (WHERE b.next_expiry <= d.as_of), '{}'),
        coalesce(array_agg(d.account ORDER BY d.place) FILTER (WHERE d.is_one AND c.yes), '{}'),
        coalesce(array_agg(l.id ORDER BY d.place) FILTER (WHERE d.is_one AND c.yes), '{}')
    FROM (
        SELECT account, account_id, min(ordinality) AS place, count(*) = 1 AS is_one,
            max(as_of) AS as_of, sum(amount) AS amount, bool_or(bought_only) AS bought_only,
            bool_or(bought_only) <> bool_and(bought_only) AS is_mixed
        FROM unnest(p_dues) WITH ORDINALITY
        GROUP BY account, account_id) AS d
    CROSS JOIN LATERAL (
        SELECT top_up_below, next_expiry FROM credit_balances
        WHERE account_id = d.account_id LIMIT 1) AS b
    LEFT JOIN LATERAL (
        SELECT o.id, o.free, o.scope FROM credit_burn_order(d.account_id) AS o
        WHERE o.scope IS NOT NULL OR o.is_paid OR NOT d.bought_only
        LIMIT 1) AS l ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(l.scope IS NULL AND l.free >= d.amount, false)
            AND coalesce(b.next_expiry > d.as_of + interval '1 second', true)) AS c(yes)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.yes AND b.top_up_below IS NULL THEN l.free ELSE (
            SELECT coalesce(sum(o.free), 0)
            FROM credit_burn_order(d.account_id) AS o JOIN credit_lots AS n ON n.id = o.id
            WHERE (o.is_paid OR NOT d.bought_only)
                AND coalesce(n.expires_at, 'infinity') > d.as_of + interval '1 second')
        END
        OFFSET 0) AS t(there)  -- once, though it is compared twice
$$;

CREATE OR REPLACE FUNCTION usage_give_back(
    p_account_id uuid, p_id uuid, p_entry uuid, p_amount numeric, p_at timestamptz)
RETURNS uuid
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    name text := public_id('bill', p_id);
BEGIN
    PERFORM credit_open(p_account_id, p_at);
    RETURN credit_give_back(
        p_account_id, p_entry, usage_given_back(p_account_id, p_entry), p_amount, name || '/void',
        name, p_at);
END;
$$;

CREATE OR REPLACE FUNCTION usage_given_back(p_account_id uuid, p_entry uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    months date[] := (
        SELECT usage_entry_months(e.id, e.key, e.subject)
        FROM credit_transactions AS e WHERE e.id = p_entry);
BEGIN
    RETURN ARRAY(
        SELECT v.transaction_id
        FROM billing_records AS v
        WHERE v.id = ANY (ARRAY(
                SELECT usage_void_id(r.id)
                FROM billing_records AS r
                WHERE r.transaction_id = p_entry AND r.month = ANY (months)
                    AND r.account_id = p_account_id))
            AND v.month = ANY (months) AND v.voids IS NOT NULL
        UNION
        -- Of uses whose month is archived the ledger alone knows.
        SELECT t.id FROM credit_transactions AS t
        WHERE t.account_id = p_account_id AND t.kind = 'void'
            AND (t.at, t.seq) > (
                SELECT e.at, e.seq FROM credit_transactions AS e WHERE e.id = p_entry)
            AND t.detail ->> 'transaction_id' = public_id('ctx', p_entry)
            AND EXISTS (SELECT FROM month_files WHERE is_away));
END;
$$;

CREATE OR REPLACE FUNCTION usage_given_free(p_price jsonb, p_units numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(p_units, CASE
        WHEN p_price ->> 'model' = 'volume' AND p_units > usage_free_units(p_price)
            THEN coalesce((p_price ->> 'free_units')::numeric, 0)
        ELSE usage_free_units(p_price) END)
$$;

CREATE OR REPLACE FUNCTION usage_had_tiers(
    p_account_id uuid, p_product text, p_currency text, p_at timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT coalesce(bool_or(t.goes_on), false)
    FROM (
        SELECT DISTINCT ON (p.currency) p.model <> 'per_unit' OR p.free_units > 0 AS goes_on
        FROM (
            SELECT 1 AS rank, currency, model, free_units, effective_from, effective_to
            FROM price_overrides WHERE account_id = p_account_id AND product = p_product
            UNION ALL
            SELECT 2, currency, model, free_units, effective_from, effective_to
            FROM product_prices WHERE product = p_product) AS p
        WHERE p.currency = coalesce(p_currency, p.currency)
            AND p.effective_from <= p_at AND p_at < coalesce(p.effective_to, 'infinity')
        ORDER BY p.currency, p.rank, p.effective_from DESC) AS t
$$;

CREATE OR REPLACE FUNCTION usage_id_before(p_id uuid, p_digit text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (substr(p_id::text, 10, 4) || substr(p_id::text, 16, 3) || substr(p_id::text, 21, 3)
        || substr(p_id::text, 25) || repeat(p_digit, 10))::uuid
$$;

CREATE OR REPLACE FUNCTION usage_id_in_month(p_id uuid, p_digits text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN usage_month_of(p_id, true) <> usage_first_month()
        THEN (p_digits || substr(p_id::text, 9))::uuid
        ELSE regexp_replace(replace(p_id::text, '-', ''), '^(....)(...)(.{15}).*$',
            p_digits || '\17\28\3')::uuid END
$$;

CREATE OR REPLACE FUNCTION usage_ids_in_month(p_ids uuid[], p_month date) RETURNS uuid[]
LANGUAGE plpgsql IMMUTABLE
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    digits text := usage_month_digits(p_month);
    theirs text := CASE WHEN usage_month_of(p_ids[1], true) <> usage_first_month()
        THEN left(p_ids[1]::text, 8) ELSE '00000000' END;
    first uuid := (digits || repeat('0', 24))::uuid;
    last uuid := (digits || repeat('f', 24))::uuid;
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(p_ids) AS i(id) WHERE i.id < first OR i.id > last) THEN
        RETURN '{}';
    END IF;
    first := (theirs || repeat('0', 24))::uuid;
    last := (theirs || repeat('f', 24))::uuid;
    RETURN ARRAY(
        SELECT CASE WHEN i.id >= first AND i.id <= last THEN (digits || substr(i.id::text, 9))::uuid
            ELSE usage_id_in_month(i.id, digits) END
        FROM unnest(p_ids) AS i(id));
END;
$$;

CREATE OR REPLACE FUNCTION usage_included_kinds(p_kinds usage_fast_kind[])
RETURNS usage_fast_kind[]
LANGUAGE sql STABLE AS $$
    SELECT array_agg(ROW(
        k.kind, k.product_id, k.service_type, k.feature_type, k.operation, k.model,
        'subscription_included', k.meter, 0, k.is_hourly, k.facet, k.counter)::usage_fast_kind
        ORDER BY k.kind)
    FROM (
        SELECT s.kind, s.product_id, s.service_type, s.feature_type, s.operation, s.model, s.meter,
            s.is_hourly, f.facet, min(s.kind) OVER (PARTITION BY s.meter, f.facet) AS counter
        FROM unnest(p_kinds) AS s
        CROSS JOIN LATERAL usage_facet(
            s.service_type, 'subscription_included', 'completed', 'CREDIT') AS f(facet)) AS k
$$;

CREATE OR REPLACE FUNCTION usage_included_units(
    p_lim jsonb, p_counts text, p_before numeric, p_units numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_lim IS NULL THEN 0
        -- A level from before a change: the units of each plan, by its part of the cycle
        -- (usage_limits_at), to as many decimals as portions.stay_beyond gives.
        WHEN p_lim ? 'before' AND usage_is_level(p_counts) THEN round(
            least(p_units, greatest(0, (p_lim ->> 'before')::numeric - p_before))
                * (p_lim ->> 'part')::numeric
            + least(p_units, greatest(0, (p_lim ->> 'included')::numeric - p_before))
                * (1 - (p_lim ->> 'part')::numeric), 6)
        ELSE least(p_units, greatest(0, (p_lim ->> 'included')::numeric - p_before)) END
$$;

CREATE OR REPLACE FUNCTION usage_included_uses(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[],
    p_limited integer[])
RETURNS usage_input[]
LANGUAGE sql STABLE
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    SELECT ARRAY(
        SELECT u
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        WHERE a.place IN (SELECT unnest(p_limited)) AND a.limits ? k.meter
        ORDER BY u.place)
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
        occurred_at, created_at, updated_at, month)
    SELECT
        u.id, a.account_id, u.event_id, u.hash, u.user_id, u.organization_id, u.session_id,
        u.request_id, k.product_id, k.service_type, k.feature_type, k.operation, k.model, k.meter,
        u.amount, 0, u.amount, k.unit_price,
        usage_charge_units(u.amount, k.unit_price, 'CREDIT'), 'CREDIT', k.method, 'completed',
        k.unit_price = 0 AND k.product_id IS NOT NULL, false, p.transaction_id, u.detail,
        a.start_at, CASE WHEN u.used_at IS NULL THEN a.day_at
            ELSE date_trunc('day', u.used_at, a.zone) END,
        coalesce(u.used_at, a.as_of), a.as_of, a.as_of,
        usage_month_of(u.id, u.event_id IS NOT NULL)
    FROM unnest(p_uses) AS u
    JOIN unnest(p_accounts) AS a ON a.place = u.account
    JOIN unnest(p_kinds) AS k ON k.kind = u.kind
    LEFT JOIN paid AS p ON p.account = u.account AND p.share = u.share AND p.method = k.method
$$;

CREATE OR REPLACE FUNCTION usage_insert_included_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    INSERT INTO billing_records (
        id, account_id, event_id, request_hash, user_id, organization_id, session_id, request_id,
        product_id, service_type, feature_type, operation, model, meter, usage_amount,
        included_units, charged_units, unit_price, total_amount, currency, billing_method,
        billing_status, is_free_tier, is_late, detail, period_start, day_at, occurred_at,
        created_at, updated_at, month)
    SELECT
        u.id, a.account_id, u.event_id, u.hash, u.user_id, u.organization_id, u.session_id,
        u.request_id, k.product_id, k.service_type, k.feature_type, k.operation, k.model, k.meter,
        u.amount, u.amount, 0, k.unit_price, 0, 'CREDIT', 'subscription_included', 'completed',
        false, false, u.detail, a.start_at, CASE WHEN u.used_at IS NULL THEN a.day_at
            ELSE date_trunc('day', u.used_at, a.zone) END,
        coalesce(u.used_at, a.as_of), a.as_of, a.as_of,
        usage_month_of(u.id, u.event_id IS NOT NULL)
    FROM unnest(p_uses) AS u
    JOIN unnest(p_accounts) AS a ON a.place = u.account
    JOIN unnest(p_kinds) AS k ON k.kind = u.kind
$$;

CREATE OR REPLACE FUNCTION usage_insert_records(p_records usage_rated[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO billing_records (
        id, account_id, event_id, request_hash, user_id, organization_id, session_id, request_id,
        product_id, service_type, feature_type, operation, model, meter, usage_amount,
        included_units, charged_units, unit_price, total_amount, currency, billing_method,
        billing_status, is_free_tier, is_late, transaction_id, detail, period_start, day_at,
        occurred_at, created_at, updated_at, month)
    SELECT
        (r.use).id, r.account_id, (r.use).event_id, (r.use).hash, (r.use).user_id,
        (r.use).organization_id, (r.use).session_id, (r.use).request_id,
        (r.kind).product_id, (r.kind).service_type, (r.kind).feature_type, (r.kind).operation,
        (r.kind).model, r.meter, (r.use).amount, r.included_units, r.charged_units, r.unit_price,
        r.total_amount, r.currency, r.billing_method, r.billing_status, r.is_free_tier, r.is_late,
        r.transaction_id, (r.use).detail, r.period_start, r.day_at, r.occurred_at, r.created_at,
        r.created_at, usage_month_of((r.use).id, (r.use).event_id IS NOT NULL)
    FROM unnest(p_records) AS r
$$;

CREATE OR REPLACE FUNCTION usage_is_charged(p_record billing_records) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT p_record.billing_method = 'payment_charge' AND p_record.billing_status = 'completed'
        OR p_record.currency <> 'CREDIT' AND (p_record.billing_status = 'completed' OR EXISTS (
            SELECT FROM usage_settlements
            WHERE account_id = p_record.account_id AND p_record.id = ANY (records)))
$$;

CREATE OR REPLACE FUNCTION usage_is_charging(p_status text, p_method text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_status IN ('pending', 'processing') AND p_method = 'payment_charge'
$$;

CREATE OR REPLACE FUNCTION usage_is_known(p_id uuid) RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    months CONSTANT date[] := usage_months_looked_at();
    there date;
    its_id uuid;
BEGIN
    FOREACH there IN ARRAY months LOOP
        IF there = usage_first_month() THEN
            CONTINUE WHEN cardinality(
                usage_own_records(ARRAY[p_id]) || usage_repeats(ARRAY[p_id])) = 0;
            RETURN true;
        END IF;
        its_id := usage_id_in_month(p_id, usage_month_digits(there));
        IF EXISTS (SELECT FROM billing_records WHERE id = its_id AND month = there) THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN cardinality(months) > 1 AND cardinality(usage_claimed_ids(ARRAY[p_id])) > 0;
END;
$$;

CREATE OR REPLACE FUNCTION usage_is_level(p_kind text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_kind IN ('max', 'last')
$$;

CREATE OR REPLACE FUNCTION usage_is_outdated(
    p_subscription_id uuid, p_plan_id uuid, p_no_entitlement text, p_default_plan uuid)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT num_nonnulls(p_plan_id, p_no_entitlement) = 0
        OR (p_subscription_id IS NULL AND p_no_entitlement IS DISTINCT FROM 'incomplete'
            AND p_plan_id IS DISTINCT FROM p_default_plan)
$$;

CREATE OR REPLACE FUNCTION usage_is_owed(p_status text, p_currency text, p_method text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT p_status = 'failed'
        OR p_status = 'pending' AND p_currency = 'CREDIT' AND p_method <> 'payment_charge'
$$;

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
        WHERE usage_is_level((kind).counts)
        GROUP BY account_id, period_start, day_at, meter) AS r
    WHERE c.account_id = r.account_id AND c.owner = '' AND c.grain = 'day'
        AND c.period_start = r.period_start AND c.bucket = r.day_at AND c.meter = r.meter
        AND c.last_at <= r.last_at
$$;

CREATE OR REPLACE FUNCTION usage_limit_of(p_limits jsonb, p_kind usage_metered) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_limits -> p_kind.meter,
        CASE WHEN p_kind.product_id IS NULL OR p_kind.method = 'subscription_included'
            THEN p_limits -> '*' END)
$$;

CREATE OR REPLACE FUNCTION usage_limited_fast(
    p_accounts usage_account[], p_kinds usage_kind[], p_simple usage_fast_kind[],
    p_uses usage_input[], OUT limited integer[], OUT unsure integer[])
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH added AS MATERIALIZED (
        SELECT u.account, s.meter, sum(u.amount) AS amount,
            bool_or(k.product_id IS NULL OR k.method IS NOT DISTINCT FROM 'subscription_included')
                AS may_be_refused,
            bool_or(s.unit_price > 0 AND s.method = 'subscription_included') AS needs_plan
        FROM unnest(p_uses) AS u
        JOIN unnest(p_simple) AS s ON s.kind = u.kind
        JOIN unnest(p_kinds) WITH ORDINALITY AS k ON k.ordinality = u.kind
        GROUP BY u.account, s.meter
    ), found AS MATERIALIZED (
        SELECT a.place, a.account_id, a.start_at, a.as_of, d.meter, d.amount,
            a.limits -> d.meter AS lim
        FROM added AS d JOIN unnest(p_accounts) AS a ON a.place = d.account
        WHERE a.limits ? d.meter OR d.needs_plan OR d.may_be_refused AND a.limits ? '*'
    )
    SELECT coalesce(array_agg(f.place) FILTER (WHERE f.lim IS NOT NULL), '{}'),
        coalesce(array_agg(f.place) FILTER (
            WHERE (n.carried + u.used + f.amount + r.reserved <= n.included) IS NOT TRUE
                OR EXISTS (
                    SELECT FROM usage_alert_percents() AS t(percent)
                    WHERE n.included * t.percent > (n.carried + u.used) * 100
                        AND n.included * t.percent <= (n.carried + u.used + f.amount) * 100)), '{}')
    FROM found AS f
    CROSS JOIN LATERAL usage_allowance(f.lim) AS n
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity), 0) FROM usage_counters
        WHERE account_id = f.account_id AND owner = '' AND grain = 'day'
            AND period_start = f.start_at AND meter = f.meter) AS u(used)
    CROSS JOIN LATERAL (
        SELECT CASE f.lim ->> 'then' WHEN 'block'
            THEN quota_reserved(f.account_id, f.meter, f.as_of, '{}') ELSE 0 END) AS r(reserved)
$$;

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

CREATE OR REPLACE FUNCTION usage_limits_at(
    p_limits jsonb, p_no_entitlement text, p_before jsonb, p_at timestamptz,
    p_start timestamptz, p_end timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT coalesce((
            SELECT jsonb_object_agg(l.meter, l.lim || CASE WHEN p_limits ? l.meter
                THEN (p_limits -> l.meter) - 'then' - 'price' || jsonb_build_object(
                    'before', l.lim -> 'included', 'part', u.part) ELSE '{}' END)
            FROM jsonb_each(b.one -> 'limits') AS l(meter, lim)), '{}')
        FROM jsonb_array_elements(p_before) WITH ORDINALITY AS b(one, place)
        CROSS JOIN LATERAL (SELECT (b.one ->> 'until')::timestamptz) AS t(until)
        CROSS JOIN LATERAL (SELECT extract(epoch FROM t.until - p_start)
            / extract(epoch FROM p_end - p_start)) AS u(part)
        WHERE p_at < t.until
        ORDER BY b.place LIMIT 1), usage_limits_in_force(p_limits, p_no_entitlement))
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
        'beyond', one ->> 'beyond',
        'then', CASE
            WHEN one ->> 'then' <> 'overage' THEN one ->> 'then'
            WHEN p_status = 'past_due' AND p_past_due_access <> 'full' THEN 'block'
            WHEN one -> 'prices' -> p_currency IS NULL THEN 'block'
            ELSE 'overage' END,
        'price', coalesce(one -> 'prices' -> p_currency, '"0"'),
        'capped', CASE WHEN p_status IN ('trialing', 'past_due') THEN 'true' END))), '{}')
    FROM jsonb_array_elements(p_limits) AS limits(one)
    WHERE p_status IN ('trialing', 'active')
        OR (p_status = 'past_due' AND p_past_due_access <> 'none')
$$;

CREATE OR REPLACE FUNCTION usage_make_months(p_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    self oid;
    home text;
    one date;
    name text;
    is_there boolean;
    -- One instant for all of an upgrade: its first partition ends where these begin.
    this date := date_trunc('month', transaction_timestamp() AT TIME ZONE 'UTC');
    made integer := 0;
BEGIN
    GET DIAGNOSTICS self = PG_ROUTINE_OID;
    SELECT n.nspname INTO STRICT home
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.oid = self;
    PERFORM set_config('search_path', quote_ident(home) || ', pg_temp', true);
    PERFORM pg_advisory_xact_lock(7214034);
    FOR one IN
        SELECT (this + make_interval(months => n))::date FROM generate_series(0, p_ahead) AS n
    LOOP
        is_there := usage_partition_of(one) IS NOT NULL;
        CONTINUE WHEN is_there AND EXISTS (SELECT FROM usage_months WHERE month = one);
        made := made + 1;
        INSERT INTO usage_months (month, ends_at)
        VALUES (one, (one + interval '1 month') AT TIME ZONE 'UTC')
        ON CONFLICT (month) DO NOTHING;
        CONTINUE WHEN is_there;
        name := 'billing_records_' || to_char(one, 'YYYY_MM');
        EXECUTE format('CREATE TABLE %I (LIKE billing_records INCLUDING DEFAULTS'
            ' INCLUDING CONSTRAINTS)', name);
        -- Rows are read and written by the whole table's name alone.
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, billing_app, billing_operator', name);
        EXECUTE format('ALTER TABLE billing_records ATTACH PARTITION %I'
            ' FOR VALUES FROM (%L) TO (%L)', name, one, one + interval '1 month');
    END LOOP;
    IF to_regclass('billing_records_before') IS NOT NULL THEN
        UPDATE usage_months AS m SET ends_at = clock_timestamp() + interval '7 days'
        WHERE month = usage_first_month() AND EXISTS (
            SELECT FROM billing_records_before AS r
            WHERE r.voids IS NULL AND r.written_at > m.ends_at - interval '7 days');
    END IF;
    RETURN made;
END;
$$;

CREATE OR REPLACE FUNCTION usage_max_per_use(p_max numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(p_max, 1000000000)
$$;

CREATE OR REPLACE FUNCTION usage_may_defer(p_account_id uuid, p_amount numeric) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT u.unpaid + p_amount <= u.unpaid_limit
    FROM usage_unpaid(p_account_id, 'infinity', false) AS u
$$;

CREATE OR REPLACE FUNCTION usage_metered_kinds(p_kinds usage_kind[]) RETURNS SETOF usage_metered
LANGUAGE sql
SET enable_nestloop = on
AS $$
    SELECT
        k.ordinality::integer, k.product_id, coalesce(p.service_type, k.service_type),
        k.feature_type, k.operation, k.model, k.method, k.defers, coalesce(m.key, o.meter),
        coalesce(m.kind, CASE WHEN o.meter IS NOT NULL THEN 'sum' END), coalesce(m.hourly, false)
    FROM unnest(p_kinds) WITH ORDINALITY AS k
    LEFT JOIN LATERAL (
        SELECT meter, service_type FROM products
        WHERE key = k.product_id AND is_active LIMIT 1) AS p ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN k.product_id IS NULL AND k.feature_type IS NULL AND k.service_type IS NULL
            AND credit_cost_ever(k.operation) THEN 'operations' END) AS o(meter)
    LEFT JOIN LATERAL (
        SELECT key, kind, hourly FROM meters
        WHERE is_active AND CASE
            WHEN k.product_id IS NOT NULL THEN key = p.meter
            WHEN k.feature_type IS NOT NULL
                THEN key = k.feature_type OR feature_types ? k.feature_type
            WHEN k.service_type IS NOT NULL THEN service_types ? k.service_type
            ELSE key = o.meter END
        ORDER BY key = k.feature_type DESC NULLS LAST, key
        LIMIT 1) AS m ON true
$$;

CREATE OR REPLACE FUNCTION usage_misfits_fast(
    p_kinds usage_fast_kind[], p_uses usage_input[], p_are_all_simple boolean)
RETURNS integer[]
LANGUAGE sql STABLE
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    WITH kinds AS MATERIALIZED (
        SELECT k.kind, k.unit_price,
            usage_max_per_use((SELECT max_per_use FROM meters WHERE key = k.meter)) AS most
        FROM unnest(p_kinds) AS k
    )
    SELECT CASE WHEN p_are_all_simple AND (
        SELECT coalesce(bool_and(r.least > 0 AND r.most <= k.most AND CASE WHEN k.unit_price > 0
            THEN usage_charge_units(r.least, k.unit_price, 'CREDIT') > 0
                AND usage_charge_units(r.most, k.unit_price, 'CREDIT') <= usage_most_cost('CREDIT')
            ELSE true END), true)
        FROM (SELECT min(amount) AS least, max(amount) AS most FROM unnest(p_uses)) AS r
        CROSS JOIN kinds AS k)
    THEN '{}' ELSE ARRAY(
        SELECT DISTINCT u.account
        FROM unnest(p_uses) AS u LEFT JOIN kinds AS k ON k.kind = u.kind
        WHERE k.kind IS NULL OR u.amount = 0 OR u.amount > k.most
            OR CASE WHEN k.unit_price > 0 THEN usage_charge_units(u.amount, k.unit_price, 'CREDIT')
                NOT BETWEEN 0.000001 AND usage_most_cost('CREDIT') END)
    END
$$;

CREATE OR REPLACE FUNCTION usage_month_digits(p_month date) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lpad(to_hex((extract(epoch FROM p_month)::bigint * 1000 >> 16) + 1), 8, '0')
$$;

CREATE OR REPLACE FUNCTION usage_month_of(p_id uuid, p_has_event boolean) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(
        CASE WHEN p_has_event AND uuid_extract_timestamp(p_id) AT TIME ZONE 'UTC'
            >= date_trunc('month', uuid_extract_timestamp(p_id) AT TIME ZONE 'UTC')
                + interval '132 seconds' THEN NULL
        ELSE date_trunc('month', uuid_extract_timestamp(p_id) AT TIME ZONE 'UTC')::date END,
        usage_first_month())
$$;

CREATE OR REPLACE FUNCTION usage_months_looked_at() RETURNS date[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT month FROM usage_months
        WHERE ends_at > clock_timestamp() - usage_late_limit()
            AND month <= (clock_timestamp() + interval '1 hour') AT TIME ZONE 'UTC'
        ORDER BY month DESC)
$$;

CREATE OR REPLACE FUNCTION usage_months_of(p_ids uuid[]) RETURNS date[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(DISTINCT m.month)
    FROM unnest(p_ids) AS i(id) CROSS JOIN LATERAL unnest(usage_record_months(i.id)) AS m(month)
$$;

CREATE OR REPLACE FUNCTION usage_most_cost(p_currency text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN p_currency = 'CREDIT' THEN 1000000000000::numeric ELSE 1000000000 END
$$;

CREATE OR REPLACE FUNCTION usage_move_facet(
    p_account_id uuid, p_records uuid[], p_old_method text, p_old_status text)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
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
        WHERE r.id = ANY (p_records) AND r.month = ANY (usage_months_of(p_records))
            AND r.account_id = p_account_id
        GROUP BY r.period_start, r.day_at, r.meter, f.facet, f.sign
    )
    SELECT usage_add_counters(array_agg(sum)) FROM sums
$$;

CREATE OR REPLACE FUNCTION usage_next_unpaid(
    p_account_id uuid, p_from_at timestamptz, p_from_id uuid, p_most integer)
RETURNS TABLE (
    used_at timestamptz, id uuid, currency text, meter text, name text, method text,
    unit_price numeric, total numeric)
LANGUAGE sql STABLE AS $$
    SELECT u.used_at, u.record_id, r.currency, r.meter, r.name,
        CASE r.billing_method WHEN 'payment_charge' THEN 'credit_consumption'
            ELSE r.billing_method END, r.unit_price, r.total
    FROM (
        SELECT used_at, record_id FROM unpaid_uses
        WHERE account_id = p_account_id AND (used_at, record_id) >= (p_from_at, p_from_id)
        ORDER BY used_at, record_id LIMIT p_most) AS u
    LEFT JOIN LATERAL (
        SELECT b.currency, b.meter, coalesce(b.product_id, b.operation) AS name,
            b.billing_method, c.unit_price, c.total
        FROM billing_records AS b CROSS JOIN LATERAL usage_due_in_credits(b) AS c
        WHERE b.id = u.record_id AND b.month = ANY (usage_record_months(u.record_id))
            AND usage_is_owed(b.billing_status, b.currency, b.billing_method)) AS r ON true
    ORDER BY u.used_at, u.record_id
$$;

CREATE OR REPLACE FUNCTION usage_note_unpaid(
    p_account_id uuid, p_records uuid[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
    INSERT INTO unpaid_uses (record_id, account_id, used_at, overdue_at, charge_at)
    SELECT id, account_id, occurred_at, p_at + usage_overdue_after(), p_at + usage_overdue_after()
    FROM billing_records
    WHERE id = ANY (p_records) AND month = ANY (usage_months_of(p_records))
        AND account_id = p_account_id
    ON CONFLICT (record_id) DO NOTHING;
    SELECT account_watch(p_account_id, p_at + usage_overdue_after(), p_at);
$$;

CREATE OR REPLACE FUNCTION usage_notify_budgets(p_accounts usage_account[], p_but integer[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    one record;
BEGIN
    FOR one IN SELECT a.account_id, a.zone, a.start_at, a.as_of FROM unnest(p_accounts) AS a
        WHERE a.budget_mode IS NOT NULL AND a.place <> ALL (p_but)
            AND EXISTS (SELECT FROM budget_reached(a.account_id, a.zone, a.start_at, a.as_of))
        ORDER BY a.place
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
            l.carried + u.used)::usage_threshold_alert,
        (SELECT max(created_at) FROM unnest(p_records) WHERE account_id = g.account_id))
    FROM unnest(p_grown) AS g
    CROSS JOIN LATERAL (
        SELECT a.included, a.carried
        FROM usage_periods CROSS JOIN LATERAL usage_allowance(limits -> g.meter) AS a
        WHERE account_id = g.account_id AND start_at = g.period_start LIMIT 1) AS l
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity), 0) FROM usage_cycles
        WHERE l.included IS NOT NULL AND account_id = g.account_id AND owner = ''
            AND period_start = g.period_start AND meter = g.meter) AS u(used)
    CROSS JOIN LATERAL usage_alert_percents() AS t(percent)
    WHERE l.included * t.percent > (l.carried + u.used - g.added) * 100
        AND l.included * t.percent <= (l.carried + u.used) * 100
    ORDER BY g.account_id, g.meter, t.percent
$$;

CREATE OR REPLACE FUNCTION usage_notify_shrunk(
    p_account_id uuid, p_period_start timestamptz, p_before jsonb, p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT usage_notify_threshold(
        p_account_id,
        ROW('plan', l.meter, '', t.percent, p_period_start, n.included,
            u.used)::usage_threshold_alert,
        p_at)
    FROM usage_periods AS p
    CROSS JOIN LATERAL jsonb_each(p.limits) AS l(meter, lim)
    CROSS JOIN LATERAL usage_allowance(l.lim) AS n
    CROSS JOIN LATERAL usage_allowance(p_before -> l.meter) AS b
    CROSS JOIN LATERAL (
        SELECT n.carried + coalesce(sum(quantity), 0) FROM usage_cycles
        WHERE account_id = p_account_id AND owner = '' AND period_start = p_period_start
            AND meter = l.meter) AS u(used)
    CROSS JOIN LATERAL usage_alert_percents() AS t(percent)
    WHERE p.account_id = p_account_id AND p.start_at = p_period_start
        AND l.lim ->> 'then' <> 'none' AND u.used > 0
        AND n.included * t.percent <= u.used * 100
        AND (b.included * t.percent <= u.used * 100) IS NOT TRUE
    ORDER BY l.meter, t.percent
$$;

CREATE OR REPLACE FUNCTION usage_notify_threshold(
    p_account_id uuid, p_alert usage_threshold_alert, p_at timestamptz,
    p_type text DEFAULT 'evt.billing.usage.threshold_reached')
RETURNS void
LANGUAGE sql AS $$
    SELECT usage_notify_thresholds(p_account_id, ARRAY[p_alert], p_at, p_type)
$$;

CREATE OR REPLACE FUNCTION usage_notify_thresholds(
    p_account_id uuid, p_alerts usage_threshold_alert[], p_at timestamptz, p_type text)
RETURNS void
LANGUAGE sql AS $$
    WITH noted AS (
        INSERT INTO usage_alerts (
            id, account_id, subject, meter, owner, threshold, window_start, limit_amount,
            used_amount, created_at)
        SELECT uuidv7(), p_account_id, subject, meter, owner, percent, window_start, limit_amount,
            used_amount, p_at
        FROM unnest(p_alerts)
        ON CONFLICT DO NOTHING
        RETURNING id, subject, meter, owner, threshold, window_start, limit_amount, used_amount
    ), numbered AS (
        UPDATE credit_balances SET event_seq = (SELECT count(*) FROM noted)
            + greatest(event_seq, (SELECT max(last_number) FROM skipped_events))
        WHERE account_id = p_account_id AND EXISTS (SELECT 1 FROM noted)
        RETURNING event_seq
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(), p_account_id, b.event_seq + 1 - row_number() OVER (ORDER BY n.id DESC), p_type,
        jsonb_build_object(
            'account_id', public_id('acc', p_account_id), 'meter', n.meter,
            'subject', CASE WHEN starts_with(n.subject, 'quota ')
                THEN 'quota ' || public_id('qta', substr(n.subject, 7)::uuid)
                ELSE n.subject END,
            'owner', n.owner,
            'threshold_percent', n.threshold, 'limit', public_decimal(n.limit_amount),
            'used', public_decimal(n.used_amount), 'window_start', n.window_start),
        p_at, clock_timestamp()
    FROM noted AS n CROSS JOIN numbered AS b
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
        p.no_entitlement, p.carried_since, p.terms_until
    INTO known
    FROM credit_balances AS b JOIN usage_periods AS p ON p.id = b.period_id
    WHERE b.account_id = p_account_id;
    wanted := usage_due_period(p_account_id, p_at);
    IF wanted.start_at IS NULL
        OR (known.start_at, known.end_at, known.zone, known.subscription_id, known.plan_id,
            known.currency, known.limits, known.no_entitlement, known.carried_since,
            known.terms_until)
        IS NOT DISTINCT FROM
        (wanted.start_at, wanted.end_at, wanted.zone, wanted.subscription_id, wanted.plan_id,
            wanted.currency, wanted.limits, wanted.no_entitlement, wanted.carried_since,
            wanted.terms_until)
    THEN
        RETURN;
    END IF;

    INSERT INTO usage_periods AS p (
        id, account_id, start_at, end_at, zone, subscription_id, plan_id, currency, limits,
        no_entitlement, carried_since, terms_until, limits_before)
    VALUES (uuidv7(), p_account_id, wanted.start_at, wanted.end_at, wanted.zone,
        wanted.subscription_id, wanted.plan_id, wanted.currency, wanted.limits,
        wanted.no_entitlement, wanted.carried_since, wanted.terms_until,
        usage_terms_before_order(p_account_id, wanted.no_entitlement, wanted.start_at, p_at))
    ON CONFLICT (account_id, start_at) DO UPDATE
    SET end_at = excluded.end_at, zone = excluded.zone, closed_at = NULL,
        subscription_id = excluded.subscription_id, plan_id = excluded.plan_id,
        currency = excluded.currency, limits = excluded.limits,
        no_entitlement = excluded.no_entitlement, carried_since = excluded.carried_since,
        terms_until = excluded.terms_until,
        limits_before = p.limits_before || usage_terms_that_end(p.limits, p.no_entitlement,
            excluded.limits, excluded.no_entitlement, least(p_at, p.terms_until))
    RETURNING p.id INTO opened;
    UPDATE usage_periods SET end_at = least(end_at, wanted.start_at), closed_at = p_at
    WHERE id = known.id AND known.id <> opened AND start_at < wanted.start_at;
    -- What this one goes on from counts its use, too: a late use finds the same free units.
    UPDATE usage_periods SET carried_since = wanted.carried_since
    WHERE account_id = p_account_id AND start_at < wanted.start_at
        AND start_at >= wanted.carried_since AND carried_since IS NULL;
    UPDATE credit_balances SET period_id = opened
    WHERE account_id = p_account_id AND period_id IS DISTINCT FROM opened;
    IF (known.id, known.end_at, known.terms_until, known.limits, known.no_entitlement)
        IS DISTINCT FROM
        (opened, wanted.end_at, wanted.terms_until, wanted.limits, wanted.no_entitlement)
    THEN
        -- What the plan says is another thing now.
        UPDATE billing_quotas SET plain_until = NULL
        WHERE account_id = p_account_id AND NOT is_derived AND plain_until IS NOT NULL;
    END IF;
    IF known.id = opened AND known.limits <> wanted.limits THEN
        PERFORM usage_follow_growth(p_account_id, wanted.start_at, p_at);
    END IF;
    IF known.id = opened OR wanted.carried_since IS NOT NULL THEN
        PERFORM usage_notify_shrunk(p_account_id, wanted.start_at, known.limits, p_at);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_operation_prices(p_kind usage_metered)
RETURNS TABLE (price usage_price, effective_from timestamptz, effective_to timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT ROW('per_unit', c.cost, 1, 0, NULL)::usage_price, c.effective_from, c.effective_to
    FROM credit_cost_versions(CASE
        WHEN p_kind.product_id IS NULL AND p_kind.method IS DISTINCT FROM 'payment_charge'
        THEN p_kind.operation END) AS c
    WHERE c.cost IS NOT NULL
$$;

CREATE OR REPLACE FUNCTION usage_other_ids(
    p_ids uuid[], OUT month date, OUT asked uuid[], OUT low uuid[], OUT high uuid[])
RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    FOREACH month IN ARRAY usage_months_looked_at() LOOP
        IF month = usage_first_month() THEN
            SELECT array_agg(i.id), array_agg(usage_id_before(i.id, '0')),
                array_agg(usage_id_before(i.id, 'f'))
            INTO asked, low, high
            FROM unnest(p_ids) AS i(id)
            WHERE usage_month_of(i.id, true) <> usage_first_month();
        ELSE
            asked := p_ids;
            low := usage_ids_in_month(p_ids, month);
            high := low;
        END IF;
        IF cardinality(low) > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_otherwise_priced_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[],
    p_at timestamptz)
RETURNS integer[]
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    WITH changed AS MATERIALIZED (
        SELECT k.kind, t.effective_from, coalesce(t.effective_to, 'infinity') AS effective_to
        FROM unnest(p_kinds) AS k
        CROSS JOIN LATERAL (
            SELECT effective_from, effective_to FROM product_prices
            WHERE product = k.product_id AND currency = 'CREDIT'
                AND effective_from <= p_at AND p_at < coalesce(effective_to, 'infinity')
            LIMIT 1) AS t
        WHERE t.effective_to IS NOT NULL OR EXISTS (
            SELECT FROM product_prices
            WHERE product = k.product_id AND currency = 'CREDIT'
                AND effective_from < t.effective_from)
    )
    SELECT CASE WHEN EXISTS (SELECT FROM changed) THEN ARRAY(
        SELECT DISTINCT u.account
        FROM unnest(p_uses) AS u
        JOIN changed AS c ON c.kind = u.kind
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        WHERE coalesce(u.used_at, a.as_of) < c.effective_from
            OR coalesce(u.used_at, a.as_of) >= c.effective_to)
    ELSE '{}' END
$$;

CREATE OR REPLACE FUNCTION usage_outside_period(
    p_accounts usage_account[], p_uses usage_input[])
RETURNS TABLE (account_id uuid, used_at timestamptz, is_late boolean)
LANGUAGE sql
SET enable_nestloop = off
SET enable_hashjoin = on
AS $$
    SELECT a.account_id, u.used_at, u.used_at < a.start_at
    FROM (
        SELECT o.place, o.account_id, o.start_at, o.as_of, (
            SELECT (p.limits_before -> -1 ->> 'until')::timestamptz FROM usage_periods AS p
            WHERE p.account_id = o.account_id AND p.start_at = o.start_at) AS changed_at
        FROM unnest(p_accounts) AS o OFFSET 0) AS a
    JOIN unnest(p_uses) AS u ON u.account = a.place
    WHERE u.used_at < greatest(a.start_at, a.changed_at, a.as_of - usage_late_limit())
        OR u.used_at > a.as_of
$$;

CREATE OR REPLACE FUNCTION usage_overage_prices(
    p_account_id uuid, p_period_start timestamptz, p_meter text)
RETURNS TABLE (place bigint, until timestamptz, written timestamptz, price jsonb)
LANGUAGE sql STABLE AS $$
    SELECT t.place, t.until, t.written, t.lim -> 'price'
    FROM usage_periods AS p
    CROSS JOIN LATERAL (
        SELECT b.place, (b.one ->> 'until')::timestamptz AS until,
            (b.one ->> 'written')::timestamptz AS written, b.one -> 'limits' -> p_meter AS lim
        FROM jsonb_array_elements(p.limits_before) WITH ORDINALITY AS b(one, place)
        UNION ALL
        SELECT jsonb_array_length(p.limits_before) + 1, 'infinity', 'infinity',
            p.limits -> p_meter) AS t
    WHERE p.account_id = p_account_id AND p.start_at = p_period_start
        AND t.lim ->> 'then' = 'overage'
$$;

CREATE OR REPLACE FUNCTION usage_overdue_after() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT interval '7 days'
$$;

CREATE OR REPLACE FUNCTION usage_owed_debit(
    p_account_id uuid, p_id uuid, p_amount numeric, p_meter text, p_name text, p_method text)
RETURNS credit_debit_item
LANGUAGE sql STABLE AS $$
    SELECT ROW(
        p_account_id, p_amount, k.key, k.key, concat_ws(': ', 'usage', p_name), p_meter,
        p_method = 'wallet_deduction', n.name, NULL, false)::credit_debit_item
    FROM (SELECT public_id('bill', p_id) AS name) AS n
    CROSS JOIN LATERAL (
        SELECT public_id('acc', p_account_id) || '/request/process/' || n.name AS key) AS k
$$;

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

CREATE OR REPLACE FUNCTION usage_own_records(p_ids uuid[]) RETURNS usage_repeat[]
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    only_month date := usage_month_of(p_ids[1], true);
    found uuid[] := '{}';
    here record;
BEGIN
    IF only_month <> usage_first_month()
        AND cardinality(usage_ids_in_month(p_ids, only_month)) = 0
    THEN
        RETURN ARRAY(
            SELECT ROW(r.id, r.id)::usage_repeat FROM billing_records AS r
            WHERE r.id = ANY (p_ids) AND r.month = only_month);
    END IF;
    FOR here IN
        SELECT m.month, array_agg(m.id) AS ids FROM (
            SELECT usage_month_of(i.id, false) AS month, i.id FROM unnest(p_ids) AS i(id)
            UNION
            SELECT usage_first_month(), i.id FROM unnest(p_ids) AS i(id)
            WHERE usage_month_of(i.id, true) = usage_first_month()) AS m
        GROUP BY m.month
    LOOP
        found := found || ARRAY(
            SELECT r.id FROM billing_records AS r
            WHERE r.id = ANY (here.ids) AND r.month = here.month);
    END LOOP;
    RETURN ARRAY(SELECT ROW(f.id, f.id)::usage_repeat FROM unnest(found) AS f(id));
END;
$$;

CREATE OR REPLACE FUNCTION usage_partition_of(p_month date) RETURNS regclass
LANGUAGE sql STABLE
AS $$
    SELECT inhrelid::regclass
    FROM pg_inherits
    WHERE inhparent = to_regclass('billing_records')
        AND inhrelid = to_regclass('billing_records_' || to_char(p_month, 'YYYY_MM'))
$$;

CREATE OR REPLACE FUNCTION usage_pay_alike_fast(
    p_dues usage_due[], p_lots uuid[], p_apart boolean)
RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    entries uuid[];
    due record;
BEGIN
    IF p_apart THEN
        SELECT CASE WHEN bool_and(d.transaction_id IS NOT NULL)
            THEN array_agg(d.transaction_id ORDER BY d.place) END INTO entries
        FROM credit_debit_many(ARRAY(
            SELECT ROW(u.account_id, u.amount, u.key, u.key, u.reason, NULL, u.bought_only, NULL,
                NULL, false)::credit_debit_item
            FROM unnest(p_dues) WITH ORDINALITY AS u ORDER BY u.ordinality)) AS d;
    ELSE
        SELECT array_agg(d.account_id) AS accounts, array_agg(d.as_of) AS times,
            array_agg(d.amount) AS amounts, array_agg(d.key) AS keys,
            array_agg(d.reason) AS reasons, bool_or(d.bought_only) AS bought_only
        INTO due FROM unnest(p_dues) AS d;
        IF cardinality(p_lots) > 0 THEN
            entries := credit_debit_apart_fast(due.accounts, due.times, due.amounts, due.keys,
                due.reasons, p_lots, due.bought_only);
        ELSE
            SELECT CASE WHEN s.whole THEN s.entries END INTO entries
            FROM credit_debit_fast(due.accounts, due.times, due.amounts, due.keys, due.reasons,
                due.bought_only) AS s;
        END IF;
    END IF;
    IF entries IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure',
            MESSAGE = 'credits ended while they were counted';
    END IF;
    RETURN entries;
END;
$$;

CREATE OR REPLACE FUNCTION usage_pay_dues_fast(
    p_dues usage_due[], p_apart integer[], p_expired integer[], p_covered integer[], p_lots uuid[])
RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    entries uuid[] := array_fill(NULL::uuid, ARRAY[cardinality(p_dues)]);
    paid uuid[];
    one record;
    part record;
BEGIN
    FOR one IN SELECT d.account_id, max(d.as_of) AS as_of FROM unnest(p_dues) AS d
        WHERE d.account = ANY (p_expired) AND d.account <> ALL (p_apart)
        GROUP BY d.account_id ORDER BY d.account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM credit_settle(one.account_id, one.as_of);
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
    IF cardinality(p_apart) = 0 AND cardinality(p_lots) IN (0, cardinality(p_dues)) AND (
        SELECT count(DISTINCT d.bought_only) = 1 FROM unnest(p_dues) AS d)
    THEN
        RETURN usage_pay_alike_fast(p_dues, p_lots, false);
    END IF;
    FOR part IN
        SELECT w.is_apart, array_agg(d.ordinality::integer ORDER BY d.ordinality) AS places,
            array_agg(l.id ORDER BY d.ordinality) FILTER (WHERE l.id IS NOT NULL) AS lots
        FROM unnest(p_dues) WITH ORDINALITY AS d
        CROSS JOIN LATERAL (SELECT d.account = ANY (p_apart)) AS w(is_apart)
        LEFT JOIN unnest(p_covered, p_lots) AS l(account, id)
            ON l.account = d.account AND NOT w.is_apart
        GROUP BY w.is_apart, l.id IS NULL, d.bought_only AND NOT w.is_apart
    LOOP
        paid := usage_pay_alike_fast(
            ARRAY(SELECT p_dues[i] FROM unnest(part.places) AS i), part.lots, part.is_apart);
        FOR i IN 1 .. cardinality(paid) LOOP
            entries[part.places[i]] := paid[i];
        END LOOP;
    END LOOP;
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

CREATE OR REPLACE FUNCTION usage_price_again(
    p_account_id uuid, p_period_start timestamptz, p_meter text, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    common CONSTANT jsonb := usage_common_price(p_account_id, p_period_start, p_meter);
    terms record;
    waiting record;
    changed record;
    units numeric[];
    before numeric;
    paid numeric;
    totals numeric[] := '{}';
BEGIN
    -- By a percentage each use has a price of its own, too.
    IF jsonb_typeof(common) IS DISTINCT FROM 'object' OR common ->> 'model' = 'percentage' THEN
        RETURN;
    END IF;
    SELECT array_agg(r.id ORDER BY r.occurred_at, r.written_at, r.id) AS ids,
        array_agg(r.charged_units ORDER BY r.occurred_at, r.written_at, r.id) AS units,
        array_agg(r.total_amount ORDER BY r.occurred_at, r.written_at, r.id) AS totals,
        sum(r.charged_units) AS quantity, sum(r.total_amount) AS total
    INTO waiting
    FROM usage_waiting(p_account_id, p_period_start, p_meter) AS r;
    IF waiting.ids IS NULL THEN
        RETURN;
    END IF;
    SELECT usage_price_of(common) AS price, p.currency INTO terms
    FROM usage_periods AS p
    WHERE p.account_id = p_account_id AND p.start_at = p_period_start;
    SELECT c.overage - waiting.quantity, c.overage_total - waiting.total INTO before, paid
    FROM usage_cycles AS c
    WHERE c.account_id = p_account_id AND c.owner = '' AND c.period_start = p_period_start
        AND c.meter = p_meter;
    -- An element of a record's array is found by walking there, of a variable's at once.
    units := waiting.units;
    FOR n IN 1 .. cardinality(units) LOOP
        totals[n] := usage_charge_after(terms.price, terms.currency, before, units[n], paid);
        before := before + units[n];
        paid := paid + totals[n];
    END LOOP;
    -- With tiers most uses keep their price: only the others are written and counted again.
    SELECT array_agg(s.id) AS ids, array_agg(s.total) AS totals INTO changed
    FROM unnest(waiting.ids, waiting.totals, totals) AS s(id, known, total)
    WHERE s.total <> s.known;
    IF changed.ids IS NULL THEN
        RETURN;
    END IF;
    PERFORM usage_count_again(p_account_id, changed.ids, -1);
    PERFORM usage_write_totals(changed.ids, changed.totals, p_at);
    PERFORM usage_count_again(p_account_id, changed.ids, 1);
END;
$$;

CREATE OR REPLACE FUNCTION usage_price_in_credits(
    p_account_id uuid, p_id uuid, p_unit_price numeric, p_total numeric)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM usage_count_again(p_account_id, ARRAY[p_id], -1);
    UPDATE billing_records
    SET currency = 'CREDIT', unit_price = p_unit_price, total_amount = p_total
    WHERE id = p_id AND month = ANY (usage_record_months(p_id));
    PERFORM usage_count_again(p_account_id, ARRAY[p_id], 1);
END;
$$;

CREATE OR REPLACE FUNCTION usage_price_of(p_price jsonb) RETURNS usage_price
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ROW(
        coalesce(p_price ->> 'model', 'per_unit'),
        coalesce((CASE jsonb_typeof(p_price) WHEN 'object' THEN p_price ->> 'unit_price'
            ELSE p_price #>> '{}' END)::numeric, 0),
        coalesce((p_price ->> 'package_size')::numeric, 1),
        coalesce((p_price ->> 'free_units')::numeric, 0),
        coalesce(nullif(p_price -> 'percentage', 'null'), p_price -> 'tiers', '[]'))::usage_price
$$;

CREATE OR REPLACE FUNCTION usage_price_without_free(
    p_price jsonb, p_units numeric, p_uses bigint)
RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_price
        || jsonb_build_object('free_units', trim_scale(f.units - least(f.units, n.units))::text)
        || CASE WHEN t.terms IS NULL THEN '{}' ELSE jsonb_build_object(
            'percentage', t.terms || jsonb_build_object('free_transactions', greatest(
                0, (t.terms ->> 'free_transactions')::bigint - p_uses))) END
        || CASE WHEN n.units <= f.units THEN '{}' ELSE jsonb_build_object('tiers', (
            SELECT jsonb_agg(CASE WHEN u.until IS NULL THEN tier
                ELSE tier || jsonb_build_object('up_to', trim_scale(u.until)::text) END
                ORDER BY place)
            FROM jsonb_array_elements(p_price -> 'tiers') WITH ORDINALITY AS one(tier, place)
            CROSS JOIN LATERAL (
                SELECT (tier ->> 'up_to')::numeric - n.units + f.units) AS u(until)
            WHERE (u.until <= 0) IS NOT TRUE)) END
    FROM (SELECT coalesce((p_price ->> 'free_units')::numeric, 0)) AS f(units)
    CROSS JOIN (SELECT least(p_units, usage_free_units(p_price))) AS n(units)
    CROSS JOIN (SELECT nullif(p_price -> 'percentage', 'null')) AS t(terms)
$$;

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

CREATE OR REPLACE FUNCTION usage_priced_before(
    p_account_id uuid, p_owner text, p_meter text, p_period_start timestamptz, p_currency text,
    p_free_uses bigint)
RETURNS TABLE (since timestamptz, units numeric, cost numeric, uses bigint)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(CASE WHEN p_owner <> '' THEN c.carried_since END, p_period_start), b.units,
        CASE p_currency WHEN 'CREDIT' THEN b.credits ELSE b.overage_total END,
        CASE WHEN p_free_uses > 0 THEN usage_uses_before(
            p_account_id, p_owner, p_meter, p_period_start, c.carried_since, p_free_uses)
            ELSE 0 END
    FROM (SELECT (SELECT carried_since FROM usage_periods
        WHERE account_id = p_account_id AND start_at = p_period_start) AS carried_since) AS c
    CROSS JOIN LATERAL (
        SELECT overage AS units, credits, overage_total FROM usage_cycles
        WHERE p_owner = '' AND account_id = p_account_id AND owner = ''
            AND period_start = p_period_start AND meter = p_meter
        UNION ALL
        SELECT u.quantity, u.credits, u.overage_total
        FROM usage_product_units(
            p_account_id, p_owner, p_meter, p_period_start, c.carried_since) AS u
        WHERE p_owner <> ''
        LIMIT 1) AS b
$$;

CREATE OR REPLACE FUNCTION usage_product_units(
    p_account_id uuid, p_owner text, p_meter text, p_start timestamptz, p_since timestamptz)
RETURNS TABLE (quantity numeric, credits numeric, overage_total numeric)
LANGUAGE sql STABLE AS $$
    SELECT sum(c.quantity), sum(c.credits), sum(c.overage_total)
    FROM usage_counters AS c
    WHERE c.account_id = p_account_id AND c.owner = p_owner AND c.grain = 'day'
        AND c.meter = p_meter AND c.bucket >= coalesce(p_since, '-infinity')
        AND c.period_start = ANY (p_start || ARRAY(
            SELECT start_at FROM usage_periods
            WHERE account_id = p_account_id AND end_at > p_since
                AND (start_at < p_start OR carried_since = p_since)))
$$;

CREATE OR REPLACE FUNCTION usage_publish_records(p_records usage_rated[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH numbered AS (
        UPDATE credit_balances AS b SET event_seq = r.uses
            + greatest(b.event_seq, (SELECT max(last_number) FROM skipped_events))
        FROM (SELECT account_id, count(*) AS uses FROM unnest(p_records) GROUP BY 1) AS r
        WHERE b.account_id = r.account_id
        RETURNING b.account_id, b.event_seq - r.uses AS before
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(), r.account_id,
        n.before + row_number() OVER (PARTITION BY r.account_id ORDER BY (r.use).place),
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

CREATE OR REPLACE FUNCTION usage_quota_sums_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS TABLE (id uuid, account integer, added numeric, first_at timestamptz, last_at timestamptz)
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT q.id, s.account, sum(s.amount), min(s.first_at), max(s.last_at)
    FROM (
        SELECT a.account_id, u.account, k.meter, u.user_id, u.organization_id,
            sum(u.amount) AS amount, min(coalesce(u.used_at, a.as_of)) AS first_at,
            max(coalesce(u.used_at, a.as_of)) AS last_at
        FROM unnest(p_uses) AS u
        JOIN unnest(p_accounts) AS a ON a.place = u.account
        JOIN unnest(p_kinds) AS k ON k.kind = u.kind
        WHERE a.has_quotas
        GROUP BY a.account_id, u.account, k.meter, u.user_id, u.organization_id
        OFFSET 0) AS s
    CROSS JOIN LATERAL (
        SELECT id FROM billing_quotas
        WHERE account_id = s.account_id AND meter = s.meter
            AND owner IN ('', 'u:' || s.user_id, 'o:' || s.organization_id)
        OFFSET 0) AS q
    GROUP BY q.id, s.account
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
            WHEN c.rest > 0 AND (g.goes_on OR NOT c.by_plan AND c.is_graded)
                THEN least(round(t.total / c.rest, 12), 999999999999999)
            -- Tiers have no price of one unit: such a use is refused.
            WHEN c.by_plan AND c.rest > 0 THEN CASE jsonb_typeof(c.lim -> 'price')
                WHEN 'object' THEN 0 ELSE (c.lim ->> 'price')::numeric END
            -- Of no charged unit; only some models have a price of one unit (rating/rules.py).
            ELSE CASE (c.price).model WHEN 'per_unit' THEN (c.price).unit_price
                WHEN 'package' THEN round((c.price).unit_price / (c.price).package_size, 12)
                ELSE 0 END END,
        t.total,
        CASE WHEN t.total = 0 AND NOT g.goes_on THEN 'CREDIT'
            WHEN c.by_plan THEN c.money ELSE c.paid_in END,
        CASE WHEN c.by_plan OR t.total = 0 THEN 'subscription_included'
            ELSE coalesce((c.kind).method, 'credit_consumption') END,
        CASE WHEN f.failure IS NOT NULL THEN 'failed'
            WHEN t.total = 0 AND NOT g.goes_on THEN 'completed'
            WHEN c.by_plan OR (c.kind).method = 'payment_charge' THEN 'pending'
            ELSE 'processing' END,
        c.rest > 0 AND t.total = 0 AND NOT c.by_plan AND (c.kind).product_id IS NOT NULL,
        c.is_late, f.failure, NULL, c.period_start, date_trunc('day', c.used_at, c.zone), c.used_at,
        -- A dated use counts against a limit that its meter did not have yet, too.
        c.as_of, c.lim IS NOT NULL OR (c.use).used_at IS NOT NULL, c.is_graded, NULL
    )::usage_rated ORDER BY (c.use).place)
    FROM usage_costed(p_accounts, p_kinds, p_uses) AS c
    -- Units that cost nothing more are overage too where the price goes on from one to the next.
    CROSS JOIN LATERAL (SELECT c.by_plan AND c.rest > 0 AND c.lim ->> 'then' = 'overage'
        AND jsonb_typeof(c.lim -> 'price') = 'object') AS g(goes_on)
    CROSS JOIN LATERAL (
        SELECT c.total > usage_most_cost(
            coalesce(CASE WHEN c.by_plan THEN c.money ELSE c.paid_in END, 'CREDIT'))
        ) AS s(is_too_dear)
    CROSS JOIN LATERAL (SELECT CASE WHEN s.is_too_dear THEN 0 ELSE c.total END) AS t(total)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.lim ->> 'then' = 'none' AND (c.kind).meter IS NOT NULL
                AND coalesce(c.refusal, '') IN ('', 'PRODUCT_PRICING_NOT_FOUND')
            THEN 'NO_ENTITLEMENT' ELSE coalesce(c.refusal, CASE
            WHEN s.is_too_dear THEN 'USAGE_TOO_LARGE'
            WHEN c.rest = 0 THEN NULL
            WHEN c.by_plan AND c.lim ->> 'then' = 'block' THEN 'QUOTA_EXCEEDED'
            WHEN NOT c.by_plan AND (c.kind).method = 'subscription_included' AND c.total > 0
                THEN 'NOT_INCLUDED'
            -- Credits cannot pay it: only a plan prices a feature.
            WHEN (c.kind).method IN ('wallet_deduction', 'credit_consumption')
                AND (c.price).model IS NULL
                THEN 'PRODUCT_PRICING_NOT_FOUND'
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
            SELECT DISTINCT account_id FROM billing_quotas
            WHERE account_id = ANY (p_accounts) AND NOT is_derived)),
        p.end_at IS NULL OR least(p.end_at, p.terms_until) <= coalesce(a.clock_at, p_real_at)
            OR usage_is_outdated(
                p.subscription_id, p.plan_id, p.no_entitlement, (SELECT plan_by_default()))
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
    owned record;
    own usage_own_price[] := '{}';
    repeats usage_repeat[];
    uses usage_input[];
    traits usage_traits;
    kinds usage_kind[] := p_kinds;
    simple usage_fast_kind[];
    told record;
    done record;
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    opened := usage_open_accounts(p_accounts, p_uses);
    uses := usage_as_claimed(p_uses);
    repeats := usage_repeats(
        ARRAY(SELECT u.id FROM unnest(uses) AS u WHERE u.event_id IS NOT NULL));
    IF NOT p_new THEN
        repeats := usage_own_records(ARRAY(SELECT u.id FROM unnest(uses) AS u)) || repeats;
    END IF;
    IF cardinality(repeats) > 0 THEN
        RETURN QUERY SELECT a.* FROM usage_repeat_answers(uses, repeats) AS a;
        uses := ARRAY(SELECT u FROM unnest(uses) AS u
            WHERE u.id NOT IN (SELECT r.asked FROM unnest(repeats) AS r) ORDER BY u.place);
    END IF;
    traits := usage_traits_of(opened.accounts);
    IF traits.has_prices THEN
        owned := usage_own_kinds(opened.accounts, p_kinds, uses);
        kinds := owned.kinds;
        uses := owned.uses;
        own := owned.own;
    END IF;
    simple := usage_simple_kinds(kinds, own, traits.priced_at);
    told := usage_unusual_accounts(
        opened.accounts, kinds, simple, uses, opened.is_current, traits);
    done := usage_record_ordinary_fast(
        opened.accounts, simple, uses, traits, told.limited, told.unusual);
    IF p_all THEN
        RETURN QUERY SELECT a.* FROM usage_answers_fast(simple, done.charged) AS a
            UNION ALL SELECT a.* FROM usage_answers_included_fast(simple, done.included) AS a;
    END IF;
    IF cardinality(done.p_unusual) > 0 THEN
        RETURN QUERY SELECT a.* FROM usage_record_unusual(opened.accounts, kinds,
            usage_uses_of(uses, done.p_unusual, true), done.p_unusual, p_all, p_new) AS a;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_included_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM usage_insert_included_fast(p_accounts, p_kinds, p_uses);
    PERFORM usage_count_fast(p_accounts, usage_included_kinds(p_kinds), p_uses);
    UPDATE quota_claims SET status = 'settled'
    WHERE id = ANY (ARRAY(SELECT u.id FROM unnest(p_uses) AS u)) AND status = 'open';
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_months(p_id uuid) RETURNS date[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY[usage_month_of(p_id, false), usage_first_month()]
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
    p_use := (usage_as_claimed(ARRAY[p_use]))[1];
    SELECT a.* INTO answer FROM usage_repeat_answers(ARRAY[p_use],
        usage_own_records(ARRAY[p_use.id]) || CASE WHEN p_use.event_id IS NOT NULL
            THEN usage_repeats(ARRAY[p_use.id]) END) AS a;
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
    ELSIF records[1].failure IS NULL AND records[1].total_amount > 0 AND EXISTS (
        SELECT FROM credit_hold_lots AS p JOIN credit_lots AS l ON l.id = p.lot_id
        WHERE p.hold_id = p_use.hold_id AND l.scope <> records[1].meter)
    THEN
        records[1].failure := 'HOLD_SCOPE';
    ELSIF records[1].failure IS NULL THEN
        records := usage_capture(records, p_use.hold_id);
        PERFORM usage_write_accepted(records, ARRAY[account]);
        PERFORM usage_notify_budgets(ARRAY[account], '{}');
    END IF;
    SELECT a.* INTO answer FROM usage_answer_of(records[1]) AS a;
    RETURN answer;
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_once_free(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    awaited uuid := p_accounts[1 + floor(random() * cardinality(p_accounts))];
BEGIN
    PERFORM set_config('app.accounts', awaited::text, true);
    PERFORM FROM credit_balances WHERE account_id = awaited FOR NO KEY UPDATE;
    RETURN QUERY SELECT a.*
        FROM usage_record_where_free(p_accounts, p_kinds, p_uses, p_all, p_new) AS a;
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_ordinary_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[],
    p_traits usage_traits, p_limited integer[], INOUT p_unusual integer[],
    OUT charged usage_input[], OUT included usage_input[])
LANGUAGE plpgsql AS $$
DECLARE
    dues usage_due[] := '{}';
    funds record;
    entries uuid[];
BEGIN
    charged := p_uses;
    included := '{}';
    IF cardinality(p_unusual) > 0 THEN
        charged := usage_uses_of(charged, p_unusual, false);
    END IF;
    IF cardinality(p_limited) > 0 THEN
        included := usage_included_uses(p_accounts, p_kinds, charged, p_limited);
        charged := ARRAY(SELECT u FROM unnest(charged) AS u
            WHERE u.place NOT IN (SELECT i.place FROM unnest(included) AS i) ORDER BY u.place);
    END IF;
    IF EXISTS (SELECT FROM unnest(p_kinds) WHERE unit_price > 0) THEN
        dues := usage_charges_fast(p_accounts, p_kinds, charged);
        funds := usage_funds_fast(dues);
        IF cardinality(funds.short) > 0 THEN
            p_unusual := p_unusual || funds.short;
            charged := usage_uses_of(charged, funds.short, false);
            included := usage_uses_of(included, funds.short, false);
            dues := ARRAY(SELECT dues[i] FROM generate_subscripts(dues, 1) AS i
                WHERE (dues[i]).account NOT IN (SELECT unnest(funds.short)) ORDER BY i);
        END IF;
        entries := usage_pay_dues_fast(
            dues, funds.apart, funds.expired, funds.covered, funds.lots);
    END IF;
    IF p_traits.has_quotas THEN
        PERFORM usage_count_quotas_fast(p_accounts, p_kinds, charged || included);
    END IF;
    IF cardinality(charged) > 0 THEN
        PERFORM usage_insert_fast(p_accounts, p_kinds, charged, dues, entries);
        PERFORM usage_count_fast(p_accounts, p_kinds, charged);
    END IF;
    IF cardinality(included) > 0 THEN
        PERFORM usage_record_included_fast(p_accounts, p_kinds, included);
    END IF;
    IF p_traits.has_budgets THEN
        PERFORM usage_notify_budgets(p_accounts, p_unusual);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_part(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[],
    OUT records usage_rated[], OUT contested integer[])
LANGUAGE plpgsql AS $$
DECLARE
    short integer[] := '{}';
    several integer[] := '{}';
    promised usage_input[];
BEGIN
    LOOP
        records := usage_rate_uses(p_accounts, p_kinds, coalesce(promised, p_uses));
        IF EXISTS (SELECT FROM unnest(p_accounts) WHERE has_quotas OR budget_mode = 'block') THEN
            records := usage_refuse_beyond_limits(p_accounts, records);
        END IF;
        EXIT WHEN promised IS NOT NULL OR NOT EXISTS (
            SELECT FROM unnest(records) WHERE failure IN ('QUOTA_EXCEEDED', 'NO_ENTITLEMENT'));
        SELECT p.dated, p.several INTO promised, several
        FROM usage_promised(p_accounts, records, p_uses) AS p;
        EXIT WHEN promised IS NULL;
    END LOOP;
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
            -- Too dear, or beyond the plan, after those before it; one that is refused by itself
            -- counts for nothing.
            OR bool_or(r.failure IN ('USAGE_TOO_LARGE', 'PRODUCT_PRICING_NOT_FOUND')
                AND r.included_units + r.charged_units > 0)
            OR (r.use).account = ANY (several)
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
    accounts usage_account[] := p_accounts;
    done record;
    part record;
    refused usage_rated;
BEGIN
    WHILE cardinality(starts) > 0 LOOP
        low := starts[cardinality(starts)];
        high := highs[cardinality(highs)];
        starts := trim_array(starts, 1);
        highs := trim_array(highs, 1);
        CONTINUE WHEN high < low;
        IF accounts IS NULL THEN
            accounts := ARRAY(
                SELECT a FROM unnest(p_accounts) AS a WHERE a.place = p_uses[low].account);
            PERFORM set_config('app.accounts', accounts[1].account_id::text, true);
        END IF;
        IF (refused.use).id IS NOT NULL THEN
            RETURN QUERY SELECT a.* FROM usage_refused_alike(refused, p_uses[low : high]) AS a;
            IF FOUND THEN
                accounts := NULL;
                CONTINUE;
            END IF;
        END IF;
        done := usage_record_part(accounts, p_kinds, p_uses[low : high]);
        accounts := NULL;
        IF EXISTS (SELECT FROM unnest(done.records) AS r
            WHERE r.failure IS NULL AND (r.use).account <> ALL (done.contested))
        THEN
            refused := NULL;
        ELSIF low = high THEN
            refused := done.records[1];
        END IF;
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

CREATE OR REPLACE FUNCTION usage_record_soon(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql
SET lock_timeout = '50ms'
AS $$
BEGIN
    RETURN QUERY SELECT a.*
        FROM usage_record_with_top_ups(p_accounts, p_kinds, p_uses, p_all, p_new) AS a;
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_unusual(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[], p_places integer[],
    p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    accounts usage_account[] := ARRAY(
        SELECT a FROM unnest(p_accounts) AS a
        WHERE a.place IN (SELECT unnest(p_places)) ORDER BY a.place);
    repeats usage_repeat[];
BEGIN
    PERFORM set_config('app.accounts', array_to_string(ARRAY(
        SELECT a.account_id FROM unnest(accounts) AS a), ','), true);
    IF p_new THEN
        repeats := usage_own_records(
            ARRAY(SELECT u.id FROM unnest(p_uses) AS u WHERE u.event_id IS NOT NULL));
        IF cardinality(repeats) > 0 THEN
            RETURN QUERY SELECT a.* FROM usage_repeat_answers(p_uses, repeats) AS a;
            p_uses := ARRAY(SELECT u FROM unnest(p_uses) AS u
                WHERE u.id NOT IN (SELECT r.asked FROM unnest(repeats) AS r) ORDER BY u.place);
        END IF;
    END IF;
    RETURN QUERY SELECT a.* FROM usage_record_rated(accounts, p_kinds, p_uses, p_all) AS a;
END;
$$;

CREATE OR REPLACE FUNCTION usage_record_where_free(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    free uuid[];
    uses usage_input[] := p_uses;
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    SELECT array_agg(b.account_id) INTO free
    FROM (
        SELECT account_id FROM credit_balances WHERE account_id = ANY (p_accounts)
        ORDER BY account_id
        FOR NO KEY UPDATE SKIP LOCKED) AS b;
    IF free IS DISTINCT FROM p_accounts THEN
        RETURN QUERY SELECT u.place, 'locked', u.id, NULL::text, NULL::numeric, NULL::numeric,
            NULL::text, NULL::text, NULL::text, NULL::boolean, NULL::boolean, NULL::numeric,
            NULL::numeric
            FROM unnest(p_uses) AS u WHERE p_accounts[u.account] = ANY (free) IS NOT TRUE;
        uses := ARRAY(
            SELECT ROW(u.place, f.place, u.kind, u.share, u.id, u.hash, u.event_id, u.amount,
                u.used_at, u.user_id, u.organization_id, u.session_id, u.request_id, u.detail,
                u.hold_id)::usage_input
            FROM unnest(free) WITH ORDINALITY AS f(account_id, place)
            JOIN unnest(p_uses) AS u ON p_accounts[u.account] = f.account_id
            ORDER BY u.place);
    END IF;
    IF free IS NOT NULL THEN
        RETURN QUERY SELECT a.*
            FROM usage_record_with_top_ups(free, p_kinds, uses, p_all, p_new) AS a;
    END IF;
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

CREATE OR REPLACE FUNCTION usage_recount(p_account_id uuid, p_since timestamptz, p_write boolean)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    kept_quantity numeric, true_quantity numeric, kept_events bigint, true_events bigint)
LANGUAGE plpgsql AS $$
DECLARE
    found jsonb := (
        SELECT jsonb_agg(d) FROM usage_differing_counters(p_account_id, p_since) AS d);
BEGIN
    IF p_write AND found IS NOT NULL THEN
        PERFORM usage_correct_counters(p_account_id, found, '-infinity', 'infinity');
    END IF;
    RETURN QUERY
    SELECT x.owner, x.grain, x.period_start, x.bucket, x.meter, x.facet, x.kept_quantity,
        x.true_quantity, x.kept_events, x.true_events
    FROM jsonb_to_recordset(found) AS x(
        owner text, grain text, period_start timestamptz, bucket timestamptz, meter text,
        facet text, kept_quantity numeric, true_quantity numeric, kept_events bigint,
        true_events bigint);
END;
$$;

CREATE OR REPLACE FUNCTION usage_recount_days(p_account_id uuid, p_day timestamptz)
RETURNS TABLE (
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    kept_quantity numeric, true_quantity numeric, kept_events bigint, true_events bigint)
LANGUAGE sql STABLE AS $$
    SELECT w.owner, w.grain, w.period_start, w.bucket, w.meter, w.facet, c.quantity, w.quantity,
        c.events, w.events
    FROM usage_counted_in(
        p_account_id, '-infinity', '-infinity', 'infinity', p_day, 'infinity') AS w
    LEFT JOIN usage_counters AS c
        ON c.account_id = p_account_id AND c.owner = w.owner AND c.grain = w.grain
        AND c.period_start = w.period_start AND c.bucket = w.bucket AND c.meter = w.meter
        AND c.facet = w.facet
    WHERE w.grain = 'day'
        AND (w.quantity, w.events, w.credits, w.overage, w.overage_total)
        IS DISTINCT FROM (c.quantity, c.events, c.credits, c.overage, c.overage_total)
    ORDER BY w.grain, w.period_start, w.bucket, w.owner, w.meter, w.facet
$$;

CREATE OR REPLACE FUNCTION usage_refusal(
    p_kind usage_metered, p_price usage_price, p_used_at timestamptz, p_as_of timestamptz)
RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN p_used_at > p_as_of + usage_early_limit() THEN 'EVENT_IN_FUTURE'
        WHEN p_used_at < p_as_of - usage_late_limit() THEN 'EVENT_TOO_OLD'
        WHEN p_kind.method = 'payment_charge' AND (
            current_setting('app.charging', true) IS DISTINCT FROM 'on'
            OR p_price.model IS NULL)
            THEN 'PAYMENT_CHARGE_NOT_OFFERED'
        WHEN p_kind.product_id IS NOT NULL AND (p_price.model IS NULL OR p_kind.meter IS NULL)
            THEN 'PRODUCT_PRICING_NOT_FOUND'
        -- An operation that is named alone had no price at that time.
        WHEN p_kind.meter IS NULL OR p_price.model IS NULL
            AND num_nonnulls(p_kind.product_id, p_kind.feature_type, p_kind.service_type) = 0
            THEN 'METER_NOT_FOUND'
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
            PERFORM quota_open_windows(
                (one.account).account_id, (one.account).zone, (one.account).start_at,
                ARRAY(SELECT ROW((r.use).id, (r.use).user_id, (r.use).organization_id, r.meter,
                        NULL, NULL, NULL)::quota_timed_use
                    FROM unnest(p_records[one.first : one.last]) AS r WHERE r.failure IS NULL),
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
                IF p_records[i].failure IS NULL
                    AND NOT (p_records[i].is_late AND code = 'BUDGET_EXCEEDED')
                THEN
                    p_records[i].failure := code;
                END IF;
            END LOOP;
        END IF;
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION usage_refuse_detached() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
        MESSAGE = 'the month of this use is being detached';
END;
$$;

CREATE OR REPLACE FUNCTION usage_refuse_unpaid(
    p_accounts usage_account[], INOUT p_records usage_rated[])
LANGUAGE plpgsql
SET enable_hashjoin = on
AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    overdue uuid[] := ARRAY(
        SELECT account_id FROM usage_overdue(ARRAY(SELECT account_id FROM unnest(p_accounts))));
    one record;
    known record;
    i integer;
BEGIN
    FOR one IN
        SELECT r.account_id, r.billing_method AS method,
            -- With those before them: together they may be too much, and then come one by one.
            sum(sum(r.total_amount)) OVER (
                PARTITION BY r.account_id ORDER BY min(r.ordinality)) AS amount,
            array_agg(r.ordinality::integer) AS members,
            CASE WHEN r.is_late THEN r.period_start ELSE 'infinity' END AS at,
            max(a.as_of) FILTER (WHERE NOT r.is_late AND a.limits -> r.meter ? 'capped')
                AS capped_at
        FROM unnest(p_records) WITH ORDINALITY AS r
        JOIN unnest(p_accounts) AS a ON a.place = (r.use).account
        WHERE r.failure IS NULL AND r.currency <> 'CREDIT'
            AND (r.billing_method = 'payment_charge' OR r.is_late
                OR a.limits -> r.meter ? 'capped'
                -- Nothing is given any more, so it is of the time before, such as before `unpaid`.
                OR a.limits ? '*'
                -- Of a subscription that ended, or a debt that was given up: neither caps a period.
                OR r.account_id = ANY (overdue))
        GROUP BY r.account_id, r.billing_method, at
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        known := usage_unpaid(one.account_id, one.at, one.method = 'payment_charge');
        IF (known.owes OR one.method = 'payment_charge')
            AND (known.unpaid >= known.unpaid_limit OR one.method = 'subscription_included'
                AND known.unpaid + one.amount > known.unpaid_limit)
        THEN
            FOREACH i IN ARRAY one.members LOOP
                p_records[i].failure := 'UNPAID_LIMIT';
            END LOOP;
        ELSIF one.capped_at IS NOT NULL AND NOT known.owes AND one.method <> 'payment_charge' THEN
            PERFORM usage_open_period(one.account_id, one.capped_at);
        END IF;
        PERFORM set_config('app.accounts', shown, true);
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_refused_alike(p_refused usage_rated, p_uses usage_input[])
RETURNS SETOF usage_answer
LANGUAGE sql STABLE AS $$
    SELECT u.place, a.verdict, u.id, a.meter, a.unit_price, a.total, a.currency, a.method,
        a.status, a.is_free, a.is_included, a.required, a.available
    FROM unnest(p_uses) AS u CROSS JOIN usage_answer_of(p_refused) AS a
    WHERE NOT EXISTS (
        SELECT FROM unnest(p_uses) AS o
        WHERE ROW(o.account, o.kind, o.amount, o.used_at, o.user_id, o.organization_id)
            IS DISTINCT FROM ROW((p_refused.use).account, (p_refused.use).kind,
                (p_refused.use).amount, (p_refused.use).used_at, (p_refused.use).user_id,
                (p_refused.use).organization_id)
        OR EXISTS (SELECT FROM quota_claims AS c WHERE c.id = o.id))
$$;

CREATE OR REPLACE FUNCTION usage_repeat_answers(p_uses usage_input[], p_repeats usage_repeat[])
RETURNS SETOF usage_answer
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    SELECT u.place, CASE WHEN b.request_hash = u.hash THEN 'duplicate' ELSE 'conflict' END, b.id,
        b.meter, b.unit_price, b.total_amount, b.currency, b.billing_method, b.billing_status,
        b.is_free_tier, b.charged_units = 0, b.total_amount, NULL::numeric
    FROM (SELECT DISTINCT ON (r.asked) r.asked, r.id FROM unnest(p_repeats) AS r) AS k
    JOIN unnest(p_uses) AS u ON u.id = k.asked
    CROSS JOIN LATERAL (
        SELECT id, request_hash, meter, unit_price, total_amount, currency, billing_method,
            billing_status, is_free_tier, charged_units
        FROM billing_records
        WHERE id = k.id AND month = ANY (usage_record_months(k.id))
        LIMIT 1) AS b
$$;

CREATE OR REPLACE FUNCTION usage_repeats(p_ids uuid[]) RETURNS usage_repeat[]
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    repeats usage_repeat[] := '{}';
    there record;
BEGIN
    FOR there IN SELECT o.month, o.asked, o.low, o.high FROM usage_other_ids(p_ids) AS o LOOP
        repeats := repeats || ARRAY(
            SELECT ROW(i.asked, b.id)::usage_repeat
            FROM unnest(there.asked, there.low, there.high) AS i(asked, low, high)
            CROSS JOIN LATERAL (
                SELECT r.id FROM billing_records AS r
                WHERE r.month = there.month AND r.id >= i.low AND r.id <= i.high
                ORDER BY r.id LIMIT 1) AS b
            WHERE b.id <> i.asked);
    END LOOP;
    RETURN repeats;
END;
$$;

CREATE OR REPLACE FUNCTION usage_seal_month(p_file_id uuid, p_accounts uuid[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    INSERT INTO sealed_usage (account_id, file_id, counters, lines, entries, credits, shared)
    SELECT
        a.id, f.id, coalesce(counted.sums, '[]'), coalesce(charged.sums, '[]'), paid.entries,
        paid.credits, coalesce(paid.shared, '[]')
    FROM month_files AS f CROSS JOIN unnest(p_accounts) AS a(id)
    -- The first month has all of before, whatever is said there.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN f.month = usage_first_month() THEN '-infinity' ELSE f.month END AS month
    ) AS m
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(to_jsonb(c)) AS sums
        FROM usage_counted_in(
            a.id, '-infinity', m.month, f.until, '-infinity', 'infinity') AS c) AS counted
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(to_jsonb(c)) AS sums
        FROM (
            SELECT r.meter, r.period_start, sum(r.charged_units) AS units,
                sum(r.total_amount) AS total
            FROM billing_records AS r
            WHERE r.account_id = a.id AND r.month >= m.month AND r.month < f.until
                AND r.currency <> 'CREDIT' AND r.billing_method = 'subscription_included'
            GROUP BY r.meter, r.period_start) AS c) AS charged
    CROSS JOIN LATERAL (
        SELECT
            count(*) FILTER (WHERE x.is_whole) AS entries,
            coalesce(sum(x.credits) FILTER (WHERE x.is_whole), 0) AS credits,
            jsonb_agg(jsonb_build_object(
                'transaction_id', x.transaction_id, 'credits', x.credits))
                FILTER (WHERE NOT x.is_whole) AS shared
        FROM (
            SELECT r.transaction_id, r.credits,
                coalesce(t.debt - t.amount = r.credits, false) AS is_whole
            FROM (
                SELECT b.transaction_id, sum(b.total_amount) AS credits
                FROM billing_records AS b
                WHERE b.account_id = a.id AND b.month >= m.month AND b.month < f.until
                    AND b.transaction_id IS NOT NULL
                GROUP BY b.transaction_id) AS r
            LEFT JOIN credit_transactions AS t
                ON t.id = r.transaction_id AND t.account_id = a.id) AS x) AS paid
    WHERE f.id = p_file_id
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
    FROM billing_records AS r
    WHERE r.id = p_id AND r.month = ANY (usage_record_months(p_id)) FOR UPDATE;
    UPDATE billing_records
    SET billing_method = p_method, billing_status = p_status,
        transaction_id = coalesce(p_transaction_id, transaction_id), updated_at = p_at
    WHERE id = p_id AND month = ANY (usage_record_months(p_id));
    INSERT INTO billing_events (id, account_id, billing_id, status_before, status_after, detail, at)
    VALUES (uuidv7(), p_account_id, p_id, was.billing_status, p_status, p_detail, p_at);
    IF was.billing_method <> p_method OR was.billing_status <> p_status THEN
        PERFORM usage_move_facet(
            p_account_id, ARRAY[p_id], was.billing_method, was.billing_status);
    END IF;
    IF p_status = 'failed' THEN
        PERFORM usage_note_unpaid(p_account_id, ARRAY[p_id], p_at);
    ELSIF p_status IN ('completed', 'refunded') THEN
        DELETE FROM unpaid_uses WHERE record_id = p_id;
        IF FOUND AND was.billing_method = 'payment_charge' AND was.billing_status = 'pending' THEN
            PERFORM account_watch(p_account_id, p_at, p_at);
        END IF;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_settle(
    p_account_id uuid, p_at timestamptz, p_most integer, p_looked_at integer)
RETURNS TABLE (record_id uuid, method text)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    began record;
    due record;
    debit record;
    looked_at integer := 0;
    paid integer := 0;
    kind text;
    -- What is there for uses of a meter and method, since the last debit.
    free jsonb := '{}';
BEGIN
    DELETE FROM unpaid_retries AS w WHERE w.account_id = p_account_id
    RETURNING w.from_at, w.from_id INTO began;
    FOR due IN
        SELECT u.used_at, u.id, u.currency, u.meter, u.name, u.method, u.unit_price, u.total
        FROM usage_next_unpaid(p_account_id, coalesce(began.from_at, '-infinity'),
            coalesce(began.from_id, p_account_id), p_looked_at + 1) AS u
    LOOP
        EXIT WHEN free = '{}' AND NOT EXISTS (SELECT FROM credit_burn_order(p_account_id));
        looked_at := looked_at + 1;
        kind := due.meter || '/' || due.method;
        IF NOT free ? kind THEN
            free := free || jsonb_build_object(kind, (
                SELECT coalesce(sum(l.free), 0) FROM credit_burn_order(p_account_id) AS l
                WHERE credit_may_burn(
                    l.scope, l.is_paid, due.meter, due.method = 'wallet_deduction')));
        END IF;
        CONTINUE WHEN looked_at <= p_looked_at
            AND (due.total <= (free ->> kind)::numeric) IS NOT TRUE;
        IF paid = p_most OR looked_at > p_looked_at THEN
            PERFORM usage_settle_soon(p_account_id, p_at);
            UPDATE unpaid_retries AS w SET from_at = due.used_at, from_id = due.id
            WHERE w.account_id = p_account_id;
            EXIT;
        END IF;
        record_id := due.id;
        method := due.method;
        SELECT d.verdict, d.transaction_id INTO debit
        FROM credit_debit_many(ARRAY[usage_owed_debit(
            p_account_id, due.id, due.total, due.meter, due.name, method)], p_at) AS d;
        free := '{}'; -- It ended lots whose time is over, too.
        CONTINUE WHEN debit.verdict <> 'ok';
        IF due.currency <> 'CREDIT' THEN
            PERFORM usage_price_in_credits(p_account_id, due.id, due.unit_price, due.total);
        END IF;
        PERFORM usage_set_status(
            p_account_id, due.id, method, 'completed', debit.transaction_id,
            jsonb_build_object('method', method), p_at);
        paid := paid + 1;
        RETURN NEXT;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_settle_freed(p_accounts uuid[]) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
BEGIN
    PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
    PERFORM usage_settle_soon(b.account_id, b.last_at)
    FROM (
        SELECT c.account_id, c.last_at FROM credit_balances AS c
        WHERE c.account_id IN (SELECT u.account_id FROM unpaid_uses AS u
            WHERE u.account_id = ANY (p_accounts))
        ORDER BY c.account_id) AS b;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION usage_settle_soon(p_account_id uuid, p_at timestamptz) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM unpaid_uses WHERE account_id = p_account_id) THEN
        RETURN;
    END IF;
    INSERT INTO unpaid_retries AS w (account_id, id, asked_at) VALUES (p_account_id, uuidv7(), p_at)
    ON CONFLICT (account_id) DO UPDATE SET from_at = NULL, from_id = NULL
    WHERE w.from_at IS NOT NULL;
    PERFORM account_watch(p_account_id, p_at, p_at);
END;
$$;

CREATE OR REPLACE FUNCTION usage_shared(
    p_account_id uuid, p_period_start timestamptz, p_meter text)
RETURNS TABLE (since timestamptz, beside numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p.carried_since, coalesce((
        SELECT quantity FROM usage_used_beside(p_account_id, p.carried_since, p_period_start)
        WHERE meter = p_meter), 0)
    FROM usage_periods AS p
    WHERE p.account_id = p_account_id AND p.start_at = p_period_start
$$;

CREATE OR REPLACE FUNCTION usage_simple_kinds(
    p_kinds usage_kind[], p_own usage_own_price[], p_at timestamptz)
RETURNS usage_fast_kind[]
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT coalesce(array_agg(ROW(
        f.kind, f.product_id, f.service_type, f.feature_type, f.operation, f.model, f.method,
        f.meter, f.unit_price, f.is_hourly, f.facet, f.counter)::usage_fast_kind
        ORDER BY f.kind), '{}')
    FROM (
        SELECT p.kind, p.product_id, p.service_type, p.feature_type, p.operation, p.model,
            p.method, p.meter, p.unit_price, p.is_hourly, c.facet,
            min(p.kind) OVER (PARTITION BY p.meter, c.facet) AS counter
        FROM (
            SELECT k.kind, k.product_id, k.service_type, k.feature_type, k.operation, k.model,
                k.meter, k.is_hourly, coalesce(t.unit_price, 0) AS unit_price,
                CASE WHEN coalesce(t.unit_price, 0) = 0 THEN 'subscription_included'
                    ELSE coalesce(k.method, 'credit_consumption') END AS method
            FROM usage_metered_kinds(p_kinds) AS k
            LEFT JOIN LATERAL (
                SELECT unit_price, model = 'per_unit' AND free_units = 0 AS is_simple
                FROM product_prices
                WHERE product = k.product_id AND currency = 'CREDIT'
                    AND effective_from <= p_at AND p_at < coalesce(effective_to, 'infinity')
                LIMIT 1) AS l ON true
            LEFT JOIN unnest(p_own) AS o ON o.kind = k.kind
            CROSS JOIN LATERAL (
                SELECT CASE WHEN o.kind IS NULL THEN l.unit_price ELSE o.unit_price END
                    AS unit_price,
                    CASE WHEN o.kind IS NULL THEN l.is_simple ELSE o.unit_price IS NOT NULL END
                    AS is_simple) AS t
            WHERE k.counts = 'sum' AND coalesce(k.method, '') <> 'payment_charge'
                AND CASE WHEN k.product_id IS NULL
                    THEN coalesce(k.method, 'subscription_included') = 'subscription_included'
                        AND (k.operation IS NULL OR NOT credit_cost_ever(k.operation))
                    ELSE t.is_simple END) AS p
        CROSS JOIN LATERAL usage_facet(
            p.service_type, p.method, 'completed', 'CREDIT') AS c(facet)) AS f
$$;

CREATE OR REPLACE FUNCTION usage_terms_before_order(
    p_account_id uuid, p_no_entitlement text, p_start timestamptz, p_at timestamptz)
RETURNS jsonb
LANGUAGE sql
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN p_no_entitlement = 'incomplete' AND p_start < p_at THEN (
        SELECT usage_terms_that_end(d.limits, d.no_entitlement, '{}', p_no_entitlement, p_at)
        FROM usage_default_terms(p_account_id, p_at, false) AS d) ELSE '[]' END
$$;

CREATE OR REPLACE FUNCTION usage_terms_that_end(
    p_limits jsonb, p_no_entitlement text, p_after jsonb, p_no_entitlement_after text,
    p_at timestamptz)
RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN p_no_entitlement IS NULL AND (p_no_entitlement_after IS NOT NULL OR EXISTS (
            SELECT FROM jsonb_each(p_limits) AS l(meter, lim)
            FULL JOIN jsonb_each(p_after) AS a(meter, lim) ON a.meter = l.meter
            WHERE (l.lim -> 'then', l.lim -> 'price') IS DISTINCT FROM
                (a.lim -> 'then', a.lim -> 'price')))
        THEN jsonb_build_array(jsonb_build_object(
            'until', p_at, 'written', clock_timestamp(), 'limits', p_limits))
        ELSE '[]' END
$$;

CREATE OR REPLACE FUNCTION usage_tiered_products(p_account_id uuid) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT ARRAY(
        SELECT product FROM product_prices
        UNION SELECT product FROM price_overrides WHERE account_id = p_account_id
        EXCEPT SELECT product FROM product_prices WHERE model = 'per_unit' AND free_units = 0
        EXCEPT SELECT product FROM price_overrides
        WHERE account_id = p_account_id AND model = 'per_unit' AND free_units = 0)
$$;

CREATE OR REPLACE FUNCTION usage_traits_of(p_accounts usage_account[]) RETURNS usage_traits
LANGUAGE sql STABLE AS $$
    SELECT ROW(
        percentile_disc(0.5) WITHIN GROUP (ORDER BY a.as_of), bool_or(a.has_prices),
        bool_or(a.has_quotas), bool_or(a.budget_mode IS NOT NULL),
        coalesce(bool_or(a.budget_mode = 'block'), false), bool_or(a.limits <> '{}'))::usage_traits
    FROM unnest(p_accounts) AS a
$$;

CREATE OR REPLACE FUNCTION usage_unusual_accounts(
    p_accounts usage_account[], p_kinds usage_kind[], p_simple usage_fast_kind[],
    p_uses usage_input[], p_is_current boolean, p_traits usage_traits, OUT unusual integer[],
    OUT limited integer[])
LANGUAGE plpgsql AS $$
DECLARE
    plans record;
BEGIN
    limited := '{}';
    IF current_setting('app.publish_usage', true) = 'on' THEN
        unusual := ARRAY(SELECT a.place FROM unnest(p_accounts) AS a);
        RETURN;
    END IF;
    unusual := usage_misfits_fast(
        p_simple, p_uses, cardinality(p_simple) = cardinality(p_kinds))
        || usage_otherwise_priced_fast(p_accounts, p_simple, p_uses, p_traits.priced_at);
    IF p_traits.has_caps THEN
        unusual := unusual || usage_beyond_budgets_fast(p_accounts, p_simple, p_uses);
    END IF;
    IF p_traits.has_quotas THEN
        unusual := unusual || usage_beyond_quotas_fast(p_accounts, p_simple, p_uses);
    END IF;
    IF NOT p_is_current THEN
        unusual := unusual || ARRAY(
            SELECT a.place FROM unnest(p_accounts) AS a
            WHERE a.account_id IN (
                SELECT o.account_id FROM usage_outside_period(p_accounts, p_uses) AS o));
    END IF;
    IF EXISTS (
        SELECT FROM unnest(p_simple) AS s
        WHERE s.unit_price > 0 AND s.method = 'subscription_included')
        OR p_traits.has_limits AND EXISTS (
            SELECT FROM unnest(p_accounts) AS a
            WHERE a.limits ?| (ARRAY(
                SELECT k.meter FROM unnest(p_simple) AS k) || '*'::text))
    THEN
        plans := usage_limited_fast(p_accounts, p_kinds, p_simple, p_uses);
        limited := plans.limited;
        unusual := unusual || plans.unsure;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_used_beside(
    p_account_id uuid, p_since timestamptz, p_start timestamptz)
RETURNS TABLE (meter text, quantity numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT c.meter, sum(c.quantity)
    FROM usage_periods AS p CROSS JOIN LATERAL (
        SELECT meter, quantity FROM usage_counters
        WHERE p.start_at < p_start AND account_id = p_account_id AND owner = '' AND grain = 'day'
            AND period_start = p.start_at AND bucket >= p_since
        UNION ALL
        SELECT meter, covered FROM usage_cycles
        WHERE p.start_at > p_start AND p.carried_since <= p_start
            AND (p.limits @? '$.*.shared' OR p.limits_before @? '$[*].limits.*.shared')
            AND account_id = p_account_id AND owner = '' AND period_start = p.start_at
        OFFSET 0) AS c
    JOIN meters AS m ON m.key = c.meter AND NOT usage_is_level(m.kind)
    WHERE p.account_id = p_account_id AND p.start_at <> p_start AND p.end_at > p_since
    GROUP BY c.meter
$$;

CREATE OR REPLACE FUNCTION usage_uses_before(
    p_account_id uuid, p_owner text, p_meter text, p_start timestamptz, p_since timestamptz,
    p_most bigint)
RETURNS bigint
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT count(*) FROM (
        SELECT FROM billing_records AS r
        WHERE r.account_id = p_account_id AND r.meter = p_meter AND r.kind = 'usage'
            AND r.charged_units > 0 AND r.billing_status <> 'refunded'
            AND r.occurred_at >= least(p_start, p_since) - usage_early_limit()
            AND (r.period_start = p_start OR r.occurred_at >= p_since AND p_owner <> '')
            AND CASE WHEN p_owner = '' THEN r.currency <> 'CREDIT'
                AND r.billing_method = 'subscription_included'
                ELSE r.product_id = substr(p_owner, 3)
                    AND (r.total_amount <> 0 OR r.is_free_tier)
                    AND (r.currency = 'CREDIT' OR r.billing_method = 'payment_charge') END
        LIMIT p_most) AS seen
$$;

CREATE OR REPLACE FUNCTION usage_uses_of(
    p_uses usage_input[], p_places integer[], p_inside boolean)
RETURNS usage_input[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY(
        SELECT u FROM unnest(p_uses) AS u
        WHERE (u.account IN (SELECT unnest(p_places))) = p_inside
        ORDER BY u.place)
$$;

CREATE OR REPLACE FUNCTION usage_void(
    p_account_id uuid, p_id uuid, p_charged numeric, p_detail jsonb,
    OUT verdict text, OUT void_id uuid)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    use usage_input;
    known record;
    account usage_account;
    entry uuid;
BEGIN
    PERFORM set_config('app.accounts', p_account_id::text, true);
    -- By the id alone: with the account, a plan for an average one reads all of a giant's month.
    SELECT 1, 1, r.occurred_at INTO use.place, use.account, use.used_at
    FROM (
        SELECT account_id, occurred_at FROM billing_records
        WHERE id = p_id AND month = ANY (usage_record_months(p_id)) OFFSET 0) AS r
    WHERE r.account_id = p_account_id;
    account := (usage_open_accounts(ARRAY[p_account_id], ARRAY[use])).accounts[1];
    verdict := usage_void_verdict(p_account_id, p_id, p_charged IS NOT NULL);
    IF verdict = 'ok' THEN
        void_id := usage_void_id(p_id);
        SELECT r.total_amount AS total, r.transaction_id INTO known
        FROM billing_records AS r
        WHERE r.id = p_id AND r.month = ANY (usage_record_months(p_id));
        IF p_charged IS NULL AND known.transaction_id IS NOT NULL THEN
            entry := usage_give_back(
                p_account_id, p_id, known.transaction_id, known.total, account.as_of);
        END IF;
        PERFORM usage_write_void(
            account, p_id, void_id, p_charged IS NOT NULL, entry, p_detail || jsonb_build_object(
                'billing_id', public_id('bill', p_id),
                'money', public_decimal(coalesce(p_charged, 0)),
                'credits', CASE WHEN entry IS NULL THEN '0' ELSE public_decimal(known.total) END));
        PERFORM usage_follow_past(p_account_id, use.used_at, account.as_of);
    ELSE
        SELECT v.id INTO void_id FROM billing_records AS v
        WHERE v.id = usage_void_id(p_id) AND v.voids = p_id
            AND v.month = ANY (usage_record_months(p_id));
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

CREATE OR REPLACE FUNCTION usage_void_verdict(
    p_account_id uuid, p_id uuid, p_is_charged boolean)
RETURNS text
LANGUAGE sql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT coalesce((
        SELECT CASE
            WHEN r.account_id <> p_account_id THEN 'no_record'
            WHEN r.kind <> 'usage' OR r.voids IS NOT NULL THEN 'correction'
            WHEN EXISTS (
                SELECT FROM billing_records AS v
                WHERE v.id = usage_void_id(r.id) AND v.month = r.month AND v.voids = r.id)
                THEN 'duplicate'
            WHEN usage_is_level(m.kind) THEN 'level'
            WHEN usage_is_charging(r.billing_status, r.billing_method)
                OR NOT p_is_charged AND usage_is_charged(r) THEN 'charging'
            ELSE 'ok' END
        FROM billing_records AS r LEFT JOIN meters AS m ON m.key = r.meter
        WHERE r.id = p_id AND r.month = ANY (usage_record_months(p_id))), 'no_record')
$$;

CREATE OR REPLACE FUNCTION usage_waiting(
    p_account_id uuid, p_period_start timestamptz, p_meter text)
RETURNS SETOF billing_records
LANGUAGE sql STABLE AS $$
    SELECT r.*
    FROM billing_records AS r
    WHERE r.account_id = p_account_id AND r.billing_status = 'pending'
        AND r.occurred_at >= p_period_start - usage_early_limit()
        AND r.period_start = p_period_start AND r.meter = p_meter AND r.kind = 'usage'
        AND r.currency <> 'CREDIT' AND r.billing_method = 'subscription_included'
        AND r.charged_units > 0 AND r.voids IS NULL
        AND r.id NOT IN (
            SELECT unnest(records) FROM usage_settlements WHERE account_id = p_account_id)
$$;

CREATE OR REPLACE FUNCTION usage_was_by_plan(p_voids uuid, p_month date, p_currency text)
RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
    SELECT p_currency <> 'CREDIT' AND EXISTS (
        SELECT FROM billing_records AS r
        WHERE r.id = p_voids AND r.month = p_month AND r.billing_method <> 'payment_charge')
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
    PERFORM usage_note_unpaid(r.account_id, array_agg((r.use).id), max(r.created_at))
    FROM unnest(p_records) AS r
    WHERE r.billing_status = 'pending' AND r.currency = 'CREDIT'
    GROUP BY r.account_id;
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
    FOR one IN
        SELECT account_id, max(occurred_at) AS used_at, max(created_at) AS at
        FROM unnest(p_records) WHERE is_late
        GROUP BY account_id
    LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM usage_follow_past(one.account_id, one.used_at, one.at);
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
    IF EXISTS (SELECT FROM unnest(p_records) WHERE usage_is_level((kind).counts)) THEN
        PERFORM usage_level_counters(p_records);
    END IF;
    IF current_setting('app.publish_usage', true) = 'on' THEN
        PERFORM usage_publish_records(p_records);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_write_totals(p_ids uuid[], p_totals numeric[], p_at timestamptz)
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
    UPDATE billing_records AS r
    SET total_amount = s.total, updated_at = p_at,
        unit_price = least(round(s.total / r.charged_units, 12), 999999999999999)
    FROM unnest(p_ids, p_totals) AS s(id, total)
    WHERE r.id = s.id AND r.month = ANY (usage_months_of(p_ids))
$$;

CREATE OR REPLACE FUNCTION usage_write_void(
    p_account usage_account, p_id uuid, p_void_id uuid, p_is_charged boolean, p_entry uuid,
    p_detail jsonb)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    me CONSTANT uuid := p_account.account_id;
    wrong record;
    taken quota_timed_use[];
BEGIN
    SELECT r.billing_method AS method, r.meter, r.period_start, r.included_units, r.month INTO wrong
    FROM billing_records AS r WHERE r.id = p_id AND r.month = ANY (usage_record_months(p_id));
    INSERT INTO billing_records (
        id, account_id, request_hash, user_id, organization_id, session_id, request_id, product_id,
        service_type, feature_type, operation, model, meter, usage_amount, included_units,
        charged_units, unit_price, total_amount, currency, billing_method, billing_status,
        is_free_tier, is_late, transaction_id, detail, period_start, day_at, occurred_at,
        created_at, updated_at, voids, month)
    SELECT
        p_void_id, r.account_id, 0, r.user_id, r.organization_id, r.session_id, r.request_id,
        r.product_id, r.service_type, r.feature_type, r.operation, r.model, r.meter,
        -r.usage_amount, -r.included_units, -r.charged_units, r.unit_price, -r.total_amount,
        r.currency, CASE WHEN p_is_charged THEN 'payment_charge' ELSE r.billing_method END,
        'refunded', r.is_free_tier, r.is_late, p_entry, p_detail, r.period_start, r.day_at,
        r.occurred_at, p_account.as_of, p_account.as_of, r.id, r.month
    FROM billing_records AS r
    WHERE r.id = p_id AND r.month = wrong.month;
    IF p_account.has_quotas THEN
        taken := ARRAY(
            SELECT ROW(r.id, r.user_id, r.organization_id, r.meter,
                r.included_units + r.charged_units, r.occurred_at, r.period_start)::quota_timed_use
            FROM billing_records AS r WHERE r.id = p_void_id AND r.month = wrong.month);
        -- Before the counters know: a window that begins now is counted from them.
        PERFORM quota_open_windows(
            me, p_account.zone, p_account.start_at, taken, p_account.as_of);
        PERFORM quota_apply(me, taken, p_account.as_of);
    END IF;
    PERFORM usage_count_again(me, ARRAY[p_void_id], 1);
    PERFORM usage_set_status(me, p_id, wrong.method, 'refunded', NULL, p_detail, p_account.as_of);
    IF wrong.included_units > 0 THEN
        PERFORM usage_allot_again(
            me, wrong.period_start, wrong.meter, wrong.included_units, p_account.as_of);
    END IF;
    PERFORM usage_price_again(me, wrong.period_start, wrong.meter, p_account.as_of);
END;
$$;

CREATE OR REPLACE FUNCTION usage_overdue(p_accounts uuid[])
RETURNS TABLE (account_id uuid, since timestamptz)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT i.account_id, min(CASE i.status WHEN 'open' THEN c.opened_at ELSE i.created_at END)
    FROM invoices AS i LEFT JOIN dunning_cases AS c ON c.invoice_id = i.id
    WHERE i.account_id = ANY (p_accounts) AND i.status IN ('open', 'uncollectible')
        AND (i.status = 'uncollectible' OR c.status IN ('open', 'paused', 'exhausted'))
    GROUP BY i.account_id
$$;

CREATE OR REPLACE FUNCTION credit_note_unserved() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.kind := 'unserved';
    RETURN NEW;
END;
$$;

CREATE OR REPLACE TRIGGER kind_of_before
    BEFORE INSERT ON credit_notes
    FOR EACH ROW
    WHEN (NEW.kind = 'forgiven' AND NEW.fact_key LIKE '%/unserved')
    EXECUTE FUNCTION credit_note_unserved();

CREATE OR REPLACE FUNCTION invoice_keep() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = 'invoice ' || OLD.number || ' is numbered: ' || TG_OP || ' refused';
END;
$$;

CREATE OR REPLACE TRIGGER numbered_stays
    BEFORE UPDATE OF account_id, issuer_id, fact_key, series, number, currency, subtotal_minor,
        discount_minor, tax_minor, tax_included_minor, total_minor, content_hash, issued_on
        ON invoices
    FOR EACH ROW
    WHEN (OLD.number IS NOT NULL AND (
        OLD.account_id, OLD.issuer_id, OLD.fact_key, OLD.series, OLD.number, OLD.currency,
        OLD.subtotal_minor, OLD.discount_minor, OLD.tax_minor, OLD.tax_included_minor,
        OLD.total_minor, OLD.content_hash, OLD.issued_on
    ) IS DISTINCT FROM (
        NEW.account_id, NEW.issuer_id, NEW.fact_key, NEW.series, NEW.number, NEW.currency,
        NEW.subtotal_minor, NEW.discount_minor, NEW.tax_minor, NEW.tax_included_minor,
        NEW.total_minor, NEW.content_hash, NEW.issued_on))
    EXECUTE FUNCTION invoice_keep();

CREATE OR REPLACE TRIGGER numbered_is_kept
    BEFORE DELETE ON invoices
    FOR EACH ROW
    WHEN (OLD.number IS NOT NULL)
    EXECUTE FUNCTION invoice_keep();

CREATE OR REPLACE FUNCTION invoice_line_keep() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM invoices WHERE id = OLD.invoice_id AND number IS NOT NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'restrict_violation',
            MESSAGE = 'the invoice of this line is numbered: ' || TG_OP || ' refused';
    END IF;
    RETURN coalesce(NEW, OLD);
END;
$$;

CREATE OR REPLACE TRIGGER line_stays
    BEFORE UPDATE OR DELETE ON invoice_lines
    FOR EACH ROW EXECUTE FUNCTION invoice_line_keep();

CREATE OR REPLACE FUNCTION usage_add_on_units(
    p_subscription_id uuid, p_period_end timestamptz, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(meter, trim_scale(units)::text), '{}')
    FROM (
        SELECT meter, sum(units) AS units
        FROM (
            SELECT meter, greatest(0, round(sum(units), max(decimals))) AS units
            FROM (
                SELECT add_on, meter, usage_units_share(
                        units * CASE WHEN p_start < p_period_end THEN quantity
                            ELSE coalesce(next_quantity, quantity) END,
                        usage_cycle_part(p_subscription_id, p_start)) AS units,
                    scale(trim_scale(units)) AS decimals
                FROM subscription_items
                WHERE subscription_id = p_subscription_id AND kind = 'add_on'
                UNION ALL
                SELECT part ->> 'add_on', part ->> 'meter', (part ->> 'units')::numeric,
                    coalesce((part ->> 'decimals')::integer,
                        scale(trim_scale((part ->> 'units')::numeric)))
                FROM usage_changes_in_cycle(p_subscription_id, p_start) AS c
                CROSS JOIN LATERAL jsonb_array_elements(c.terms -> 'portions') AS part
                WHERE part ->> 'add_on' IS NOT NULL) AS parts
            GROUP BY add_on, meter) AS each
        GROUP BY meter) AS sums
$$;

CREATE OR REPLACE FUNCTION usage_agreed_left(
    p_account_id uuid, p_subscription_id uuid, p_limits jsonb, p_start timestamptz,
    p_at timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    WITH agreed AS MATERIALIZED (
        SELECT one ->> 'meter' AS meter, (one ->> 'included')::numeric AS units
        FROM jsonb_array_elements(usage_agreed_limits(p_account_id, '[]', p_at)) AS a(one)
    ), short AS MATERIALIZED (
        SELECT id, cycle_start FROM subscriptions
        WHERE EXISTS (SELECT FROM agreed) AND account_id = p_account_id
            AND id <> p_subscription_id AND status = 'canceled'
            AND cycle_start < p_start AND p_start < usage_whole_until(id)
            AND NOT EXISTS (
                SELECT FROM invoices
                WHERE subscription_id = p_subscription_id AND cycle_start < p_start
                    AND status <> 'void')
    ), used AS MATERIALIZED (
        SELECT a.meter, least(max(a.units), sum(c.covered)) AS units
        FROM short AS s
        JOIN usage_periods AS p ON p.account_id = p_account_id AND p.subscription_id = s.id
            AND p.start_at >= s.cycle_start
        CROSS JOIN agreed AS a
        JOIN meters AS m ON m.key = a.meter AND NOT usage_is_level(m.kind)
        CROSS JOIN LATERAL (
            SELECT covered FROM usage_cycles
            WHERE account_id = p_account_id AND owner = '' AND period_start = p.start_at
                AND meter = a.meter
            LIMIT 1) AS c
        GROUP BY a.meter
    )
    SELECT CASE WHEN EXISTS (SELECT FROM used) THEN (
        SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN u.units IS NULL THEN l.lim
            ELSE l.lim || jsonb_build_object(
                'included', trim_scale((l.lim ->> 'included')::numeric - u.units)::text,
                'carried', trim_scale(u.units)::text) END), '{}')
        FROM jsonb_each(p_limits) AS l(meter, lim) LEFT JOIN used AS u ON u.meter = l.meter)
        ELSE p_limits END
$$;

CREATE OR REPLACE FUNCTION usage_allowance_share(p_subscription_id uuid, p_at timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(max(greatest(0, least(1, CASE WHEN used.units = 0 THEN 0
        ELSE 1 - (given.units - used.units) / given.rate END))), 0)
    FROM subscriptions AS s
    JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (
        SELECT each.meter, sum(each.units) AS units, sum(each.rate) AS rate
        FROM (
            SELECT lim ->> 'meter' AS meter, (lim ->> 'included')::numeric AS units, 0 AS rate
            FROM jsonb_array_elements(usage_agreed_limits(
                s.account_id, usage_own_limits(p.limits, p.seats, s.id, s.cycle_start))) AS l(lim)
            UNION ALL
            SELECT key, value::numeric, 0
            FROM jsonb_each_text(usage_add_on_units(s.id, s.current_period_end, s.cycle_start))
            UNION ALL
            SELECT r.meter, 0, r.units FROM usage_cycle_rates(s.id) AS r
        ) AS each
        GROUP BY each.meter) AS given
    JOIN meters AS m ON m.key = given.meter AND NOT usage_is_level(m.kind)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(c.units), 0)
            + quota_reserved(s.account_id, m.key, p_at, '{}') AS units
        FROM usage_periods AS u CROSS JOIN LATERAL (
            SELECT covered AS units FROM usage_cycles
            WHERE account_id = s.account_id AND owner = '' AND period_start = u.start_at
                AND meter = m.key
            LIMIT 1) AS c
        WHERE u.account_id = s.account_id AND u.subscription_id = s.id
            AND u.start_at >= s.cycle_start) AS used
    WHERE s.id = p_subscription_id AND given.rate > 0
$$;

CREATE OR REPLACE FUNCTION usage_began_for_nothing(p_subscription_id uuid, p_start timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_or(s.amount_minor = 0 AND (s.created_at = p_start OR rest.of IS NOT NULL)
        OR EXISTS (
            SELECT FROM subscription_changes AS c JOIN invoices AS i ON i.id = c.invoice_id
            WHERE c.subscription_id = s.id AND c.status = 'applied'
                AND c.kind IN ('plan', 'resume') AND i.cycle_start IN (p_start, rest.of)
                AND NOT EXISTS (
                    SELECT FROM invoices AS b JOIN invoice_lines AS l ON l.invoice_id = b.id
                    WHERE (b.id = i.id OR b.subscription_id = s.id AND b.cycle_start = p_start
                            AND i.cycle_start < p_start AND b.status <> 'void')
                        AND l.kind = 'plan' AND l.amount_minor > l.discount_minor))), false)
    FROM subscriptions AS s
    -- Its own step may not have begun the rest yet.
    LEFT JOIN LATERAL (VALUES
        (s.cycle_start, s.cycle_rest_of),
        (s.cycle_end, CASE WHEN s.cycle_whole_end IS NOT NULL THEN s.cycle_start END)
    ) AS rest(start_at, of) ON rest.start_at = p_start
    WHERE s.id = p_subscription_id
$$;

CREATE OR REPLACE FUNCTION usage_carried_since(
    p_account_id uuid, p_subscription_id uuid, p_cycle_start timestamptz, p_length interval,
    p_zone text)
RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    -- Whole days, as use is counted; no more than a cycle has.
    SELECT date_trunc('day', greatest(
        usage_instant(p_cycle_start AT TIME ZONE p_zone - p_length, p_zone), coalesce((
            SELECT carried_since FROM usage_periods
            WHERE account_id = p_account_id AND start_at = b.cycle_start), b.cycle_start)), p_zone)
    FROM (
        SELECT c.subscription_id, (c.terms ->> 'cycle_start')::timestamptz AS cycle_start
        FROM subscription_changes AS c JOIN invoices AS i ON i.id = c.invoice_id
        WHERE c.subscription_id = p_subscription_id AND c.status = 'applied' AND c.kind = 'plan'
            AND i.cycle_start = p_cycle_start
        UNION ALL
        SELECT id, cycle_start FROM subscriptions
        WHERE account_id = p_account_id AND id <> p_subscription_id AND status = 'canceled'
            AND cycle_start < p_cycle_start
            AND p_cycle_start < greatest(cycle_whole_end, cycle_end,
                CASE WHEN usage_is_short(p_subscription_id) THEN usage_whole_until(id) END)
            AND NOT EXISTS (
                SELECT FROM invoices
                WHERE subscription_id = p_subscription_id AND cycle_start < p_cycle_start
                    AND status <> 'void')
        UNION ALL
        -- Its own step may not have begun the rest yet.
        SELECT s.id, rest.of
        FROM subscriptions AS s CROSS JOIN LATERAL (VALUES
            (s.cycle_start, s.cycle_rest_of),
            (s.cycle_end, CASE WHEN s.cycle_whole_end IS NOT NULL THEN s.cycle_start END)
        ) AS rest(start_at, of)
        WHERE s.id = p_subscription_id AND rest.start_at = p_cycle_start AND rest.of IS NOT NULL
        ORDER BY cycle_start DESC
        LIMIT 1) AS b
    WHERE EXISTS (
        SELECT FROM invoices AS i
        WHERE i.subscription_id = b.subscription_id AND i.status NOT IN ('draft', 'void')
            AND i.subtotal_minor > 0 AND i.period_start <= b.cycle_start
            AND b.cycle_start < i.period_end)
$$;

CREATE OR REPLACE FUNCTION usage_changes_in_cycle(p_subscription_id uuid, p_start timestamptz)
RETURNS TABLE (terms jsonb)
LANGUAGE sql STABLE AS $$
    SELECT c.terms
    FROM subscription_changes AS c
    WHERE c.subscription_id = p_subscription_id AND c.status = 'applied'
        AND c.invoice_id IS NOT NULL AND c.decided_at >= p_start
        AND (c.terms ->> 'cycle_start')::timestamptz = p_start
$$;

CREATE OR REPLACE FUNCTION usage_credited_of_lines(
    p_account_id uuid, p_invoice_id uuid, p_positions integer[])
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum((part ->> 'amount_minor')::bigint), 0)
    FROM credit_notes AS n CROSS JOIN LATERAL jsonb_array_elements(n.lines) AS part
    WHERE n.account_id = p_account_id AND n.invoice_id = p_invoice_id
        AND (part ->> 'position')::int = ANY (p_positions)
$$;

CREATE OR REPLACE FUNCTION usage_cycle_anchor(p_subscription_id uuid, p_start timestamptz)
RETURNS timestamp
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT CASE
        WHEN s.status = 'trialing' AND NOT c.is_next THEN s.current_period_start AT TIME ZONE s.zone
        WHEN c.first <= c.begins AND c.first > (
            SELECT max(b.at) FROM usage_boundaries(
                s.anchor_wall, s.zone, s.interval_unit, s.interval_count, c.near, NULL) AS b(at)
            WHERE b.at <= c.near) THEN c.first AT TIME ZONE s.zone
        ELSE s.anchor_wall END
    FROM subscriptions AS s
    CROSS JOIN LATERAL (
        SELECT p_start >= s.current_period_end AS is_next,
            coalesce(s.trial_end, s.created_at) AS first) AS n
    CROSS JOIN LATERAL (
        SELECT n.is_next, n.first,
            CASE WHEN n.is_next THEN p_start ELSE s.current_period_start END AS begins,
            -- The whole period that holds it: days that were given have moved the anchor, so that
            -- of this period is found by its end.
            CASE WHEN n.is_next THEN p_start
                ELSE s.current_period_end - interval '1 microsecond' END AS near) AS c
    WHERE s.id = p_subscription_id
$$;

CREATE OR REPLACE FUNCTION usage_cycle_end(p_subscription_id uuid, p_start timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT least(
        usage_boundary(usage_cycle_anchor(s.id, p_start), s.zone, p.allowance_unit,
            p.allowance_count, p_start),
        CASE WHEN p_start < s.current_period_end THEN s.current_period_end
            WHEN p_start < c.anchor THEN c.anchor
            ELSE usage_boundary(s.anchor_wall, s.zone, s.interval_unit, s.interval_count,
                p_start) END,
        CASE WHEN p_start >= s.current_period_end AND s.cancel_at > p_start THEN s.cancel_at END)
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (SELECT usage_instant(s.anchor_wall, s.zone) AS anchor) AS c
    WHERE s.id = p_subscription_id
$$;

CREATE OR REPLACE FUNCTION usage_cycle_part(p_subscription_id uuid, p_start timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT CASE WHEN c.in_trial AND p_start = s.current_period_start THEN 1
        ELSE least(1, extract(epoch FROM c.until - p_start)
            / usage_cycle_seconds(
                CASE WHEN NOT c.in_trial AND c.until IN (
                    SELECT usage_boundaries(s.anchor_wall, s.zone, s.interval_unit,
                        s.interval_count, c.until, NULL))
                    THEN s.anchor_wall ELSE usage_cycle_anchor(s.id, p_start) END,
                s.zone, p.allowance_unit, p.allowance_count, p_start, c.until)) END
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (
        SELECT s.status = 'trialing' AND p_start < s.current_period_end AS in_trial,
            CASE WHEN p_start = s.cycle_start THEN s.cycle_end
                ELSE usage_cycle_end(s.id, p_start) END AS until) AS c
    WHERE s.id = p_subscription_id
$$;

CREATE OR REPLACE FUNCTION usage_cycle_rates(p_subscription_id uuid)
RETURNS TABLE (meter text, units numeric)
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT each.meter, sum(each.units)
    FROM (
        SELECT s.id, s.account_id, usage_cycle_part(s.id, s.cycle_start) AS part, p.limits,
            CASE WHEN p.seats ->> 'limits' = 'true' THEN coalesce(i.quantity, 1) ELSE 1 END
                AS seats
        FROM subscriptions AS s
        JOIN plans AS p ON p.id = s.plan_id
        LEFT JOIN subscription_items AS i ON i.subscription_id = s.id AND i.kind = 'plan'
        WHERE s.id = p_subscription_id OFFSET 0) AS s
    CROSS JOIN LATERAL (
        SELECT l.lim ->> 'meter' AS meter, (l.lim ->> 'included')::numeric AS units
        FROM jsonb_array_elements(usage_agreed_limits(s.account_id, (
            SELECT coalesce(jsonb_agg(jsonb_set(own.lim, '{included}', to_jsonb(
                ((own.lim ->> 'included')::numeric * s.seats * s.part)::text))), '[]')
            FROM jsonb_array_elements(s.limits) AS own(lim)))) AS l(lim)
        UNION ALL
        SELECT a.meter, a.units * a.quantity * s.part
        FROM subscription_items AS a
        WHERE a.subscription_id = s.id AND a.kind = 'add_on') AS each
    GROUP BY each.meter
$$;

CREATE OR REPLACE FUNCTION usage_cycle_seconds(
    p_anchor timestamp, p_zone text, p_unit text, p_count integer, p_start timestamptz,
    p_end timestamptz)
RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT extract(epoch FROM min(b.at) FILTER (WHERE b.at >= p_end)
        - max(CASE WHEN b.at AT TIME ZONE p_zone = p_start AT TIME ZONE p_zone THEN p_start
            ELSE b.at END) FILTER (WHERE b.at < p_end))
    FROM usage_boundaries(p_anchor, p_zone, p_unit, p_count, p_end, NULL) AS b(at)
$$;

CREATE OR REPLACE FUNCTION usage_is_paid_for(p_subscription_id uuid) RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT EXISTS (
        SELECT FROM invoices
        WHERE subscription_id = p_subscription_id AND status <> 'void'
            AND amount_paid_minor + balance_applied_minor > 0)
$$;

CREATE OR REPLACE FUNCTION usage_is_short(p_subscription_id uuid) RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT s.cycle_whole_end IS NULL AND s.cycle_rest_of IS NULL AND s.cycle_end < usage_instant(
        s.cycle_start AT TIME ZONE s.zone
            + (p.allowance_count || ' ' || p.allowance_unit)::interval, s.zone)
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    WHERE s.id = p_subscription_id
$$;

CREATE OR REPLACE FUNCTION usage_lost_to_banks(p_account_id uuid) RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(least(d.taken, greatest(0, l.used - usage_credited_of_lines(
                p_account_id, d.invoice_id, l.positions)))), 0)
    FROM (
        SELECT invoice_id, sum(amount_minor) AS taken
        FROM disputes
        WHERE account_id = p_account_id AND state = 'lost'
            AND closed_at > coalesce(
                (SELECT clock_at FROM accounts WHERE id = p_account_id), clock_timestamp())
                - interval '1 year'
        GROUP BY invoice_id) AS d
    CROSS JOIN LATERAL (
        SELECT sum(amount_minor - discount_minor + tax_minor - tax_included_minor) AS used,
            array_agg(position) AS positions
        FROM invoice_lines
        WHERE invoice_id = d.invoice_id AND kind IN ('usage', 'single_use')) AS l
$$;

CREATE OR REPLACE FUNCTION usage_on_unpaid_invoices(p_account_id uuid, p_since timestamptz)
RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(sum(greatest(0, least(
            i.amount_due_minor - i.amount_paid_minor - i.amount_credited_minor,
            l.used - usage_credited_of_lines(p_account_id, i.id, l.positions)))), 0)
    FROM invoices AS i
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount_minor), 0) AS used, array_agg(position) AS positions
        FROM invoice_lines
        WHERE invoice_id = i.id AND kind = 'usage') AS l
    WHERE i.account_id = p_account_id AND i.status IN ('draft', 'open', 'uncollectible')
        AND (i.created_at > p_since OR EXISTS (
            SELECT FROM subscriptions AS s
            WHERE s.id = i.subscription_id AND s.status IN ('canceled', 'incomplete_expired')))
$$;

CREATE OR REPLACE FUNCTION usage_own_limits(
    p_limits jsonb, p_seats jsonb, p_subscription_id uuid, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_agg(CASE WHEN given.units = l.included THEN l.lim
        ELSE jsonb_set(l.lim, '{included}', to_jsonb(trim_scale(given.units)::text)) END
        ORDER BY l.place), '[]')
    FROM (
        SELECT s.amount_minor, usage_cycle_part(s.id, p_start) AS part,
            CASE WHEN p_seats ->> 'limits' = 'true' THEN coalesce(
                (c.terms ->> 'quantity')::integer, i.quantity, 1) ELSE 1 END AS seats
        FROM subscriptions AS s
        LEFT JOIN subscription_items AS i ON i.subscription_id = s.id AND i.kind = 'plan'
        LEFT JOIN subscription_changes AS c ON c.subscription_id = s.id AND c.kind = 'plan'
            AND c.status = 'scheduled' AND s.current_period_end <= p_start
        WHERE s.id = p_subscription_id OFFSET 0) AS s
    CROSS JOIN (
        SELECT lim, (lim ->> 'included')::numeric AS included, place
        FROM jsonb_array_elements(p_limits) WITH ORDINALITY AS one(lim, place)) AS l
    LEFT JOIN (
        SELECT part ->> 'meter' AS meter, sum((part ->> 'units')::numeric) AS units
        FROM usage_changes_in_cycle(p_subscription_id, p_start) AS c
        CROSS JOIN LATERAL jsonb_array_elements(c.terms -> 'portions') AS part
        WHERE part ->> 'add_on' IS NULL
        GROUP BY 1) AS moved ON moved.meter = l.lim ->> 'meter'
    LEFT JOIN meters AS m ON m.key = l.lim ->> 'meter'
    CROSS JOIN LATERAL (
        SELECT CASE WHEN s.amount_minor = 0 OR usage_is_level(m.kind) THEN l.included * s.seats
            ELSE greatest(0, round(
                coalesce(moved.units, 0) + usage_units_share(l.included * s.seats, s.part),
                scale(trim_scale(l.included)))) END AS units
    ) AS given
$$;

CREATE OR REPLACE FUNCTION usage_plan_period(
    p_account_id uuid, p_at timestamptz,
    OUT subscription_id uuid, OUT plan_id uuid, OUT start_at timestamptz, OUT end_at timestamptz,
    OUT zone text, OUT currency text, OUT limits jsonb, OUT no_entitlement text,
    OUT is_month boolean, OUT carried_since timestamptz, OUT carries_limits boolean,
    OUT ended_at timestamptz, OUT changes_at timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    sub record;
BEGIN
    SELECT t.id, t.status, t.cycle_start, s.cycle_end, s.current_period_end, s.zone, s.currency,
        t.amount_minor, t.plan_id, p.allowance_unit, p.allowance_count, t.ended_at, t.changes_at,
        p.past_due_access, p.limits, p.seats,
        (p.allowance_count || ' ' || p.allowance_unit)::interval AS length, p.add_ons,
        usage_agreed_limits(s.account_id, p.limits, p_at) AS agreed,
        CASE WHEN t.status = 'active'
            AND (usage_lost_to_banks(p_account_id) > 0 OR NOT usage_is_paid_for(s.id))
            THEN 'trialing' ELSE t.status END AS overage_as
    INTO sub
    FROM usage_subscription_at(p_account_id, p_at) AS t
    JOIN subscriptions AS s ON s.id = t.id JOIN plans AS p ON p.id = t.plan_id;
    SELECT sub.ended_at, sub.changes_at INTO ended_at, changes_at;
    IF coalesce(sub.status, 'canceled') IN ('incomplete', 'canceled') THEN
        is_month := true;
        SELECT a.zone INTO zone FROM accounts AS a WHERE a.id = p_account_id;
        limits := '{}';
        no_entitlement := sub.status;
        IF sub.status IS DISTINCT FROM 'incomplete' THEN
            SELECT d.plan_id, d.limits, d.no_entitlement INTO plan_id, limits, no_entitlement
            FROM usage_default_terms(p_account_id, p_at, false) AS d;
        END IF;
    ELSE
        SELECT sub.id, sub.plan_id, sub.zone, sub.currency
        INTO subscription_id, plan_id, zone, currency;
        no_entitlement := CASE WHEN sub.status IN ('unpaid', 'paused')
            OR (sub.status = 'past_due' AND sub.past_due_access = 'none') THEN sub.status END;
        is_month := sub.amount_minor = 0 AND sub.add_ons = '[]'
            AND (sub.allowance_unit, sub.allowance_count) = ('month', 1)
            AND NOT sub.agreed @? '$[*] ? (@.then == "overage")';
        SELECT sub.cycle_start, sub.cycle_end INTO start_at, end_at;
        WHILE end_at <= p_at AND NOT is_month LOOP
            start_at := end_at;
            end_at := usage_cycle_end(sub.id, start_at);
        END LOOP;
        limits := usage_with_units_beyond(
            usage_own_limits(sub.limits, sub.seats, sub.id, start_at), sub.id, start_at);
        limits := usage_limits_of(usage_agreed_limits(p_account_id, limits, p_at),
            sub.overage_as, sub.past_due_access, currency);
        IF sub.status <> 'trialing' OR start_at >= sub.current_period_end THEN
            limits := usage_with_add_ons(sub.id, sub.current_period_end, limits, start_at);
        END IF;
        carries_limits := usage_began_for_nothing(sub.id, start_at);
        carried_since := CASE WHEN carries_limits
            THEN date_trunc(sub.allowance_unit, start_at, zone)
            ELSE coalesce(
                usage_carried_since(p_account_id, sub.id, start_at, sub.length, zone),
                usage_unsold_since(p_account_id, sub.id, start_at, sub.length, zone)) END;
        IF NOT (carries_limits OR is_month) AND usage_is_short(sub.id) THEN
            limits := usage_agreed_left(p_account_id, sub.id, limits, start_at, p_at);
        END IF;
    END IF;
    IF is_month THEN
        carries_limits := true;
        SELECT m.start_at, m.end_at, m.start_at INTO start_at, end_at, carried_since
        FROM usage_month(zone, p_at) AS m;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_promised(
    p_accounts usage_account[], p_records usage_rated[], p_uses usage_input[],
    OUT dated usage_input[], OUT several integer[])
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET enable_hashjoin = on
AS $$
DECLARE
    claimed record;
BEGIN
    several := '{}';
    FOR claimed IN
        SELECT u.ordinality AS place, o.at, f.account, f.uses
        FROM (
            SELECT (r.use).id, (r.use).account, (r.use).amount, (r.use).used_at, r.meter,
                r.failure, count(*) OVER (PARTITION BY (r.use).account) AS uses
            FROM unnest(p_records) AS r) AS f
        JOIN unnest(p_accounts) AS a ON a.place = f.account
        JOIN unnest(p_uses) WITH ORDINALITY AS u ON u.id = f.id
        JOIN LATERAL (
            SELECT k.claimed_at FROM quota_claims AS k
            WHERE k.id = f.id AND k.status = 'open' AND k.expires_at > a.as_of
                AND k.meter = f.meter AND k.amount >= f.amount) AS c ON true
        JOIN LATERAL (
            SELECT p.subscription_id,
                least(c.claimed_at, a.start_at - interval '1 microsecond') AS at
            FROM usage_periods AS p
            WHERE p.account_id = a.account_id AND p.start_at <= c.claimed_at
                AND p.start_at < a.start_at
            ORDER BY p.start_at DESC LIMIT 1) AS o ON c.claimed_at <= a.start_at
        JOIN LATERAL (
            SELECT p.subscription_id FROM usage_periods AS p
            WHERE p.account_id = a.account_id AND p.start_at = a.start_at) AS n ON true
        JOIN subscriptions AS s ON s.id = o.subscription_id
        WHERE f.failure IN ('QUOTA_EXCEEDED', 'NO_ENTITLEMENT') AND f.used_at IS NULL
            AND (s.status = 'paused' OR s.id IS DISTINCT FROM n.subscription_id)
            AND NOT s.money_went_back
            AND NOT EXISTS (
                SELECT FROM invoices AS i
                WHERE i.subscription_id = s.id AND i.period_start <= o.at
                    AND i.period_end > o.at AND i.amount_paid_minor > 0
                    AND i.amount_refunded_minor >= i.amount_paid_minor)
    LOOP
        IF claimed.uses > 1 THEN
            several := several || claimed.account;
        ELSE
            dated := coalesce(dated, p_uses);
            dated[claimed.place].used_at := claimed.at;
        END IF;
    END LOOP;
END;
$$;

CREATE OR REPLACE FUNCTION usage_subscription_at(p_account_id uuid, p_at timestamptz)
RETURNS TABLE (
    id uuid, status text, plan_id uuid, amount_minor bigint, cycle_start timestamptz,
    ended_at timestamptz, changes_at timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT s.id,
        CASE WHEN e.at <= p_at THEN 'canceled'
            WHEN n.is_next AND pause.id IS NOT NULL AND s.status IN ('active', 'past_due')
                THEN 'paused'
            ELSE s.status END,
        CASE WHEN n.is_next AND plan.id IS NOT NULL THEN (plan.terms ->> 'plan_id')::uuid
            ELSE s.plan_id END,
        CASE WHEN n.is_next AND plan.id IS NOT NULL
            THEN (plan.terms ->> 'unit_minor')::bigint * (plan.terms ->> 'quantity')::bigint
            ELSE s.amount_minor END,
        CASE WHEN n.is_next THEN s.current_period_end ELSE s.cycle_start END,
        CASE WHEN e.at <= p_at THEN e.at END,
        least(CASE WHEN e.at > p_at THEN e.at END, CASE
            WHEN s.status <> 'paused' AND NOT n.is_next
                AND num_nonnulls(pause.id, plan.id) > 0 THEN s.current_period_end END)
    FROM subscriptions AS s
    CROSS JOIN LATERAL (SELECT CASE WHEN s.cancel_at_period_end THEN s.current_period_end
        ELSE s.cancel_at END AS at) AS e
    -- A pause has no next period: what is scheduled waits.
    CROSS JOIN LATERAL (
        SELECT s.current_period_end <= p_at AND s.status <> 'paused' AS is_next) AS n
    LEFT JOIN subscription_changes AS pause
        ON pause.subscription_id = s.id AND pause.kind = 'pause' AND pause.status = 'scheduled'
    LEFT JOIN subscription_changes AS plan
        ON plan.subscription_id = s.id AND plan.kind = 'plan' AND plan.status = 'scheduled'
    WHERE s.account_id = p_account_id
        AND s.status IN ('incomplete', 'trialing', 'active', 'past_due', 'unpaid', 'paused')
$$;

CREATE OR REPLACE FUNCTION usage_terms_known_until(p_account_id uuid) RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT min(greatest(c.postponed_until, d.planned_at)) FROM subscriptions AS s
    JOIN dunning_cases AS c ON c.subscription_id = s.id AND c.status IN ('open', 'paused')
    CROSS JOIN LATERAL (
        -- The last slot's day, from before its midnight: where that comes twice, the first counts.
        -- Grace days have 24 hours; no bank that decides delays the end beyond a fortnight.
        SELECT (date_trunc('day', c.day_zero_at AT TIME ZONE c.zone) + make_interval(
            days => c.extended_days + (c.policy -> 'days' ->> -1)::int, hours => -1)
            ) AT TIME ZONE c.zone
            + make_interval(hours => 24 * least(14, (c.policy ->> 'grace_days')::int))
            AS planned_at) AS d
    WHERE s.account_id = p_account_id AND s.status = 'past_due'
    HAVING count(*) > 0
    UNION ALL
    SELECT s.current_period_end FROM subscriptions AS s
    LEFT JOIN contracts AS k ON k.account_id = s.account_id AND k.id IS DISTINCT FROM s.contract_id
        AND k.effective_from <= s.current_period_end
        AND s.current_period_end < coalesce(k.effective_to, 'infinity')
    LEFT JOIN LATERAL (
        -- A plan at another price ends what was to change the price.
        SELECT c.terms FROM subscription_changes AS c
        WHERE c.subscription_id = s.id AND c.status = 'scheduled' AND c.kind IN ('plan', 'price')
        ORDER BY (c.terms ->> 'price_id')::uuid = s.price_id, c.kind LIMIT 1) AS n ON true
    LEFT JOIN plans AS p ON p.id = (n.terms ->> 'plan_id')::uuid
    WHERE s.account_id = p_account_id AND s.status = 'trialing'
        AND coalesce(p.trial_end_behavior, s.trial_end_behavior) <> 'invoice'
        AND NOT s.cancel_at_period_end
        AND coalesce(s.cancel_at, 'infinity') > s.current_period_end
        AND coalesce(k.terms ->> 'collection', s.collection) = 'charge'
        AND (coalesce((n.terms ->> 'unit_minor')::bigint, s.amount_minor) > 0
            OR n.terms ->> 'minimum_minor' IS NOT NULL
            OR n.terms IS NULL AND s.minimum_minor IS NOT NULL
            OR k.terms -> 'prices' <> '[]'
            OR EXISTS (
                SELECT FROM subscription_items AS i
                WHERE i.subscription_id = s.id AND i.kind = 'add_on' AND i.amount_minor > 0
                    AND coalesce(i.next_quantity, i.quantity) > 0)
            OR EXISTS (
                SELECT FROM subscription_changes AS c
                CROSS JOIN LATERAL jsonb_each_text(c.wanted) AS w(add_on, quantity)
                WHERE c.subscription_id = s.id AND c.status = 'scheduled' AND c.kind = 'add_ons'
                    AND w.quantity::int > 0))
        AND NOT EXISTS (
            SELECT FROM payment_methods AS m
            WHERE m.account_id = s.account_id AND m.status = 'active' AND m.barred_at IS NULL
                AND m.provider_kind = 'card'
                AND (m.is_default OR m.is_backup OR m.id = s.payment_method_id))
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
        RETURNING 'subscription/' || public_id('sub', s.id) AS workflow_id
    )
    UPDATE matters AS m
    SET revision = m.revision + 1, next_due = least(coalesce(m.next_due, p_at), p_at),
        next_step = NULL, next_key = NULL, woken_at = clock_timestamp(), started_at = NULL,
        closed_at = NULL, status = CASE WHEN m.status = 'halted' THEN 'halted' ELSE 'open' END
    FROM crossed
    WHERE m.workflow_id = crossed.workflow_id
$$;

CREATE OR REPLACE FUNCTION usage_units_share(p_units numeric, p_part numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT round(p_units * p_part, scale(trim_scale(p_units)) + 6)
$$;

CREATE OR REPLACE FUNCTION usage_unpaid(
    p_account_id uuid, p_at timestamptz, p_is_paid_at_once boolean,
    OUT unpaid numeric, OUT unpaid_limit numeric, OUT currency text, OUT owes boolean)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    sub record;
    since timestamptz := '-infinity';
    overdue_since timestamptz;
    is_paid_for boolean;
    taken numeric := CASE WHEN p_is_paid_at_once THEN 0 ELSE usage_lost_to_banks(p_account_id) END;
    unit numeric;
    limits jsonb;
BEGIN
    SELECT s.id, s.plan_id, s.currency, s.status, s.cycle_start INTO sub
    FROM (SELECT subscription_id FROM usage_periods
        WHERE account_id = p_account_id AND start_at <= p_at
        ORDER BY start_at DESC LIMIT 1) AS p
    JOIN subscriptions AS s ON s.id = p.subscription_id;
    currency := coalesce(sub.currency, (SELECT b.currency FROM credit_balances AS b
        WHERE b.account_id = p_account_id), currency_by_default());
    unit := power(10::numeric, money_exponent(currency));
    SELECT p.unpaid_limit INTO limits FROM plans AS p
    WHERE p.id = coalesce(sub.plan_id, plan_by_default());
    unpaid_limit := coalesce((limits ->> currency)::numeric / unit, 100);
    SELECT o.since INTO overdue_since FROM usage_overdue(ARRAY[p_account_id]) AS o;
    is_paid_for := sub.status <> 'trialing' AND usage_is_paid_for(sub.id);
    owes := sub.status IN ('trialing', 'past_due', 'unpaid')
        OR sub.status IN ('active', 'paused', 'canceled') AND NOT is_paid_for
        OR sub.status = 'active' AND overdue_since IS NOT NULL
        OR sub.status IN ('paused', 'canceled') AND EXISTS (
            SELECT FROM invoices
            WHERE subscription_id = sub.id AND status IN ('open', 'uncollectible'));
    owes := coalesce(owes, false) OR taken > 0;
    IF sub.status = 'past_due' THEN
        since := coalesce(overdue_since, sub.cycle_start);
    ELSIF sub.status = 'active' AND is_paid_for THEN
        since := coalesce(overdue_since, since);
    END IF;
    SELECT coalesce(sum(c.credits + c.overage_total) FILTER (
                WHERE usage_is_owed(f.status, f.currency, f.method)
                OR usage_is_charging(f.status, f.method)), 0)
            + coalesce(sum(c.overage_total) FILTER (WHERE owes AND f.status = 'pending'
                AND f.method = 'subscription_included'
                AND c.bucket > since - interval '1 day'), 0)
        + taken / unit
    INTO unpaid
    FROM usage_counters AS c CROSS JOIN LATERAL (SELECT
        split_part(c.facet, '|', 2) AS method, split_part(c.facet, '|', 3) AS status,
        split_part(c.facet, '|', 4) AS currency) AS f
    WHERE c.account_id = p_account_id AND c.owner = '' AND c.grain = 'day'
        -- Nothing is unpaid of the days before the first such use, whatever the zone of its day.
        AND c.bucket > (
            SELECT min(r.occurred_at) - interval '2 days' FROM billing_records AS r
            WHERE r.account_id = p_account_id AND r.billing_status <> 'completed'
                AND r.billing_status <> 'refunded');
    IF owes THEN
        unpaid := unpaid + usage_on_unpaid_invoices(p_account_id, since) / unit;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION usage_unsold_since(
    p_account_id uuid, p_subscription_id uuid, p_cycle_start timestamptz, p_length interval,
    p_zone text)
RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT m.since
    FROM (
        -- Whole days, as use is counted; no more than a cycle has.
        SELECT greatest(
            date_trunc('month', p_cycle_start, p_zone),
            date_trunc('day', usage_instant(
                p_cycle_start AT TIME ZONE p_zone - p_length, p_zone), p_zone), (
            SELECT date_trunc('day', usage_instant(max(least(
                i.period_end, s.ended_at, p_cycle_start)) AT TIME ZONE p_zone
                + interval '1 day', p_zone), p_zone)
            FROM invoices AS i JOIN subscriptions AS s ON s.id = i.subscription_id
            WHERE i.account_id = p_account_id AND i.status NOT IN ('draft', 'void')
                AND i.subtotal_minor > 0 AND i.period_start < p_cycle_start)) AS since
    ) AS m
    WHERE m.since < p_cycle_start AND (EXISTS (
        SELECT FROM subscriptions
        WHERE id = p_subscription_id AND created_at = p_cycle_start
    ) OR EXISTS (
        SELECT FROM subscription_changes AS c JOIN invoices AS i ON i.id = c.invoice_id
        WHERE c.subscription_id = p_subscription_id AND c.status = 'applied' AND c.kind = 'plan'
            AND i.cycle_start = p_cycle_start))
$$;

CREATE OR REPLACE FUNCTION usage_whole_until(p_subscription_id uuid) RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT whole.cycle_end
    FROM subscriptions AS s JOIN plans AS p ON p.id = s.plan_id
    CROSS JOIN LATERAL (
        SELECT usage_instant(s.cycle_start AT TIME ZONE s.zone
                + (p.allowance_count || ' ' || p.allowance_unit)::interval, s.zone) AS cycle_end,
            usage_instant(s.current_period_start AT TIME ZONE s.zone
                + (s.interval_count || ' ' || s.interval_unit)::interval, s.zone) AS period_end
    ) AS whole
    WHERE s.id = p_subscription_id AND s.cycle_rest_of IS NULL AND EXISTS (
        SELECT FROM invoices AS i
        WHERE i.subscription_id = s.id AND i.status NOT IN ('draft', 'void')
            AND i.subtotal_minor > 0
            AND i.cycle_end IS NOT NULL AND i.period_start = s.current_period_start
            -- By what was charged: an end that is chosen later gives no time back.
            AND i.period_end < least(whole.cycle_end, whole.period_end))
$$;

CREATE OR REPLACE FUNCTION usage_with_add_ons(
    p_subscription_id uuid, p_period_end timestamptz, p_limits jsonb, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_object_agg(l.meter, CASE WHEN more.units ? l.meter
        THEN jsonb_set(l.lim, '{included}', to_jsonb(trim_scale(
            (l.lim ->> 'included')::numeric + (more.units ->> l.meter)::numeric)::text))
        ELSE l.lim END), '{}')
    FROM jsonb_each(p_limits) AS l(meter, lim)
    CROSS JOIN usage_add_on_units(p_subscription_id, p_period_end, p_start) AS more(units)
$$;

CREATE OR REPLACE FUNCTION usage_with_units_beyond(
    p_limits jsonb, p_subscription_id uuid, p_start timestamptz)
RETURNS jsonb
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(jsonb_agg(CASE WHEN b.units IS NULL THEN l.lim
        ELSE l.lim || jsonb_build_object('beyond', trim_scale(b.units)::text) END
        ORDER BY l.place), '[]')
    FROM jsonb_array_elements(p_limits) WITH ORDINALITY AS l(lim, place)
    LEFT JOIN (
        SELECT one.meter, sum(one.units::numeric) AS units
        FROM usage_changes_in_cycle(p_subscription_id, p_start) AS c
        CROSS JOIN LATERAL jsonb_each_text(c.terms -> 'stay_beyond') AS one(meter, units)
        GROUP BY one.meter) AS b ON b.meter = l.lim ->> 'meter'
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

CREATE OR REPLACE FUNCTION audit_chain() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    before bytea;
BEGIN
    IF NEW.account_id IS NULL THEN
        SELECT t.id, t.digest INTO NEW.previous_id, before
        FROM billing_audit AS t ORDER BY t.id DESC LIMIT 1;
    ELSE
        SELECT t.id, t.digest INTO NEW.previous_id, before
        FROM billing_audit AS t WHERE t.account_id = NEW.account_id ORDER BY t.id DESC LIMIT 1;
    END IF;
    NEW.digest := audit_digest(NEW, before);
    RETURN NEW;
END;
$$;

CREATE OR REPLACE TRIGGER audit_chain
    BEFORE INSERT ON billing_audit
    FOR EACH ROW EXECUTE FUNCTION audit_chain();

CREATE OR REPLACE FUNCTION audit_digest(p_entry billing_audit, p_before bytea) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(jsonb_build_array(
        p_entry.id, p_entry.account_id, p_entry.actor, p_entry.action, p_entry.subject,
        p_entry.detail, p_entry.correlation_id, extract(epoch FROM p_entry.at),
        extract(epoch FROM p_entry.real_at), p_entry.previous_id, encode(p_before, 'hex')
    )::text, 'UTF8'))
$$;

CREATE OR REPLACE VIEW credit_usage_logs WITH (security_invoker = true) AS
SELECT
    id, account_id, user_id, operation, model, service_type, product_id, usage_amount,
    total_amount AS credits, transaction_id, occurred_at AS created_at
FROM billing_records
WHERE currency = 'CREDIT' AND transaction_id IS NOT NULL
UNION ALL
SELECT
    transaction_id, account_id, user_id, operation, model, NULL, NULL, credits, credits,
    transaction_id, created_at
FROM capture_logs;

CREATE OR REPLACE VIEW sealed_counters WITH (security_invoker = true) AS
SELECT
    s.account_id, c.owner, c.grain, c.period_start, c.bucket, c.meter, c.facet, c.quantity,
    c.events, c.maximum, c.last_value, c.last_at, c.credits, c.overage, c.overage_total
FROM sealed_usage AS s
JOIN month_files AS f ON f.id = s.file_id AND f.is_away
CROSS JOIN LATERAL jsonb_to_recordset(s.counters) AS c(
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    quantity numeric, events bigint, maximum numeric, last_value numeric, last_at timestamptz,
    credits numeric, overage numeric, overage_total numeric);

CREATE OR REPLACE VIEW sealed_entries WITH (security_invoker = true) AS
SELECT s.account_id, e.transaction_id, e.credits, e.entries
FROM sealed_usage AS s
JOIN month_files AS f ON f.id = s.file_id AND f.is_away
CROSS JOIN LATERAL (
    SELECT NULL::uuid AS transaction_id, s.credits, s.entries
    UNION ALL
    SELECT one.transaction_id, one.credits, 1
    FROM jsonb_to_recordset(s.shared) AS one(transaction_id uuid, credits numeric)) AS e;

CREATE OR REPLACE VIEW sealed_lines WITH (security_invoker = true) AS
SELECT s.account_id, l.meter, l.period_start, l.units, l.total
FROM sealed_usage AS s
JOIN month_files AS f ON f.id = s.file_id AND f.is_away
CROSS JOIN LATERAL jsonb_to_recordset(s.lines) AS l(
    meter text, period_start timestamptz, units numeric, total numeric);

CREATE OR REPLACE VIEW usage_cycles WITH (security_invoker = true) AS
SELECT
    account_id, owner, period_start, meter, sum(quantity) AS quantity,
    sum(events)::bigint AS events, max(maximum) AS maximum,
    (array_agg(last_value ORDER BY last_at DESC))[1] AS last_value, sum(credits) AS credits,
    coalesce(sum(overage) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'), 0)
        AS overage,
    coalesce(sum(overage_total) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'), 0)
        AS overage_total,
    -- What is sold beyond the allowance, for credits or money and whoever charged it, leaves the
    -- allowance as it is. What the plan included of uses that credits paid is counted apart.
    coalesce(sum(quantity) FILTER (WHERE NOT f.is_for_credits), 0) - sum(overage)
        + CASE WHEN bool_or(f.is_for_credits) THEN coalesce((
            SELECT sum(i.quantity) FROM usage_counters AS i
            WHERE i.account_id = usage_counters.account_id AND i.owner = 'i:' AND i.grain = 'day'
                AND i.period_start = usage_counters.period_start
                AND i.meter = usage_counters.meter), 0) ELSE 0 END AS covered,
    -- The record that voids such use has the method of a card, but no card paid it.
    coalesce(sum(overage) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'
        OR split_part(facet, '|', 3) = 'refunded'), 0) AS net_overage,
    coalesce(sum(overage_total) FILTER (WHERE split_part(facet, '|', 2) <> 'payment_charge'
        OR split_part(facet, '|', 3) = 'refunded'), 0) AS net_overage_total
FROM usage_counters
CROSS JOIN LATERAL (SELECT split_part(facet, '|', 4) = 'CREDIT'
    AND split_part(facet, '|', 2) <> 'subscription_included' AS is_for_credits) AS f
WHERE grain = 'day'
GROUP BY account_id, owner, period_start, meter;
