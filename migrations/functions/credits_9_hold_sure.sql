-- Holds and captures that nothing can refuse, each of another account: what credit_hold and
-- credit_capture decide item by item is a few statements for all of them here, at a third of the
-- cost. The caller holds the accounts' locks. All of a batch or, where one item needs a closer
-- look, nothing: then no row is answered. A test holds both ways together.

-- Every item fits into the first lot that burns; nothing has run out, no key is known, and nobody
-- wants credits bought.
CREATE OR REPLACE FUNCTION credit_hold_sure(
    p_account_ids uuid[], p_amounts numeric[], p_keys text[], p_hashes text[], p_reasons text[],
    p_expires_at timestamptz[], p_lifetimes interval[], p_scopes text[], p_paid_only boolean[],
    p_subjects text[], p_at timestamptz)
RETURNS TABLE (
    place integer, verdict text, hold_id uuid, amount numeric, expires_at timestamptz,
    available numeric, status text, captured numeric, created_at timestamptz,
    resolved_at timestamptz, top_up boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    real_at timestamptz := clock_timestamp();
    sure record;
BEGIN
    IF cardinality(p_account_ids) > (SELECT count(DISTINCT u) FROM unnest(p_account_ids) AS u) THEN
        RETURN;
    END IF;
    PERFORM set_config('app.accounts', array_to_string(p_account_ids, ','), true);
    SELECT count(*) = cardinality(p_account_ids) AS whole, array_agg(uuidv7()) AS ids,
        array_agg(s.lot_id ORDER BY s.place) AS lots, array_agg(s.as_of ORDER BY s.place) AS as_of,
        array_agg(s.ends ORDER BY s.place) AS ends, array_agg(s.before ORDER BY s.place) AS before
    INTO sure
    FROM (
        SELECT i.place, l.id AS lot_id, t.as_of, e.ends, b.next_expiry AS before
        FROM unnest(
            p_account_ids, p_amounts, p_keys, p_expires_at, p_lifetimes, p_scopes, p_paid_only
        ) WITH ORDINALITY AS i(
            account_id, amount, key, expires_at, lifetime, scope, paid_only, place)
        JOIN accounts AS a ON a.id = i.account_id
        JOIN credit_balances AS b ON b.account_id = i.account_id
        CROSS JOIN LATERAL (SELECT coalesce(p_at, a.clock_at, real_at) AS as_of) AS t
        CROSS JOIN LATERAL (SELECT coalesce(i.expires_at, t.as_of + i.lifetime) AS ends) AS e
        CROSS JOIN LATERAL (
            SELECT id, remaining - held AS free
            FROM credit_lots
            WHERE account_id = i.account_id AND is_open AND remaining > held
                AND coalesce(scope = i.scope, scope IS NULL) AND (is_paid OR NOT i.paid_only)
            ORDER BY (scope IS NULL), priority, expires_at, is_paid, granted_seq
            LIMIT 1) AS l
        WHERE l.free >= i.amount AND e.ends > t.as_of AND coalesce(b.next_expiry > t.as_of, true)
            AND NOT coalesce(b.top_up_below > b.balance - b.held - i.amount, false)
            AND NOT EXISTS (SELECT 1 FROM credit_holds AS h WHERE h.key = i.key)) AS s;
    IF sure.whole THEN
        RETURN QUERY
        WITH items AS MATERIALIZED (
            SELECT * FROM unnest(
                p_account_ids, p_amounts, p_keys, p_hashes, p_reasons, p_scopes, p_paid_only,
                p_subjects, sure.ids, sure.lots, sure.as_of, sure.ends
            ) WITH ORDINALITY AS i(
                account_id, amount, key, hash, reason, scope, paid_only, subject, id, lot_id,
                as_of, ends, place)
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
            SELECT * FROM unnest(p_account_ids, sure.ends, sure.as_of, sure.before)
                AS i(account_id, ends, as_of, before)
            WHERE coalesce(before > ends, true)
            ORDER BY account_id) AS u;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

-- Every hold is open and lies in one lot that goes on and that nobody asks back.
CREATE OR REPLACE FUNCTION credit_capture_sure(
    p_account_ids uuid[], p_hold_ids uuid[], p_amounts numeric[], p_reasons text[],
    p_details jsonb[], p_at timestamptz)
RETURNS TABLE (
    place integer, verdict text, hold_id uuid, transaction_id uuid, captured numeric,
    released numeric, balance numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    real_at timestamptz := clock_timestamp();
    sure record;
BEGIN
    IF cardinality(p_account_ids) > (SELECT count(DISTINCT u) FROM unnest(p_account_ids) AS u) THEN
        RETURN;
    END IF;
    PERFORM set_config('app.accounts', array_to_string(p_account_ids, ','), true);
    SELECT count(*) = cardinality(p_account_ids) AS whole, array_agg(uuidv7()) AS ids,
        array_agg(s.lot_id ORDER BY s.place) AS lots, array_agg(s.as_of ORDER BY s.place) AS as_of,
        array_agg(s.held ORDER BY s.place) AS held,
        array_agg(s.captured ORDER BY s.place) AS captured,
        array_agg(s.subject ORDER BY s.place) AS subjects
    INTO sure
    FROM (
        SELECT i.place, l.id AS lot_id, t.as_of, h.amount AS held, h.subject,
            coalesce(i.amount, h.amount) AS captured
        FROM unnest(p_account_ids, p_hold_ids, p_amounts) WITH ORDINALITY
            AS i(account_id, hold_id, amount, place)
        JOIN accounts AS a ON a.id = i.account_id
        JOIN credit_balances AS b ON b.account_id = i.account_id
        JOIN credit_holds AS h ON h.id = i.hold_id AND h.account_id = i.account_id
        JOIN credit_hold_lots AS p ON p.hold_id = i.hold_id AND p.position = 1
        JOIN credit_lots AS l ON l.id = p.lot_id
        CROSS JOIN LATERAL (SELECT coalesce(p_at, a.clock_at, real_at) AS as_of) AS t
        WHERE h.status = 'open' AND p.amount = h.amount AND coalesce(i.amount, h.amount) > 0
            AND coalesce(i.amount, h.amount) <= h.amount AND l.claimed = 0
            AND coalesce(l.expires_at > t.as_of, true)
            AND coalesce(b.next_expiry > t.as_of, true)) AS s;
    IF sure.whole THEN
        RETURN QUERY
        WITH items AS MATERIALIZED (
            SELECT * FROM unnest(
                p_account_ids, p_hold_ids, p_reasons, p_details, sure.ids, sure.lots, sure.as_of,
                sure.held, sure.captured, sure.subjects
            ) WITH ORDINALITY AS i(
                account_id, hold_id, reason, detail, id, lot_id, as_of, held, captured, subject,
                place)
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
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
