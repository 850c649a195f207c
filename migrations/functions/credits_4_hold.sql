-- Set credits aside from lots in burn order until p_expires_at, or for p_lifetime, once per key.
-- Verdicts: ok; duplicate (same key and hash: the first hold, as it stands now); conflict (same
-- key, other hash); expired (it would end before it begins); insufficient (with what is
-- available); no_account. `top_up` says that the account now wants more credits.
CREATE OR REPLACE FUNCTION credit_hold(
    p_account_id uuid, p_amount numeric, p_key text, p_hash text, p_reason text,
    p_expires_at timestamptz, p_at timestamptz DEFAULT NULL, p_scope text DEFAULT NULL,
    p_paid_only boolean DEFAULT false, p_subject text DEFAULT NULL,
    p_lifetime interval DEFAULT NULL,
    OUT verdict text, OUT hold_id uuid, OUT amount numeric, OUT expires_at timestamptz,
    OUT available numeric, OUT status text, OUT captured numeric, OUT created_at timestamptz,
    OUT resolved_at timestamptz, OUT top_up boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_enter(p_account_id, p_at);
    known credit_holds;
    mine credit_balances;
    lot record;
    parts credit_hold_lots[] := '{}';
    part credit_hold_lots;
    need numeric := p_amount;
    before timestamptz;
BEGIN
    SELECT * INTO known FROM credit_holds WHERE key = p_key AND account_id = p_account_id;
    hold_id := coalesce(known.id, uuidv7());
    amount := p_amount;
    expires_at := coalesce(known.expires_at, p_expires_at, as_of + p_lifetime);
    status := coalesce(known.status, 'open');
    captured := coalesce(known.captured, 0);
    created_at := coalesce(known.created_at, as_of);
    resolved_at := known.resolved_at;
    top_up := false;
    verdict := CASE
        WHEN as_of IS NULL THEN 'no_account'
        WHEN known.request_hash = p_hash THEN 'duplicate'
        WHEN known.id IS NOT NULL THEN 'conflict'
        WHEN expires_at <= as_of THEN 'expired'
        ELSE 'ok'
    END;
    IF verdict = 'ok' THEN
        part.hold_id := hold_id;
        part.account_id := p_account_id;
        FOR lot IN
            SELECT id, remaining - held AS free
            FROM credit_lots
            WHERE account_id = p_account_id AND is_open AND remaining > held
                AND coalesce(scope = p_scope, scope IS NULL) AND (is_paid OR NOT p_paid_only)
            ORDER BY (scope IS NULL), priority, expires_at, is_paid, granted_seq
        LOOP
            part.position := cardinality(parts) + 1;
            part.lot_id := lot.id;
            part.amount := least(need, lot.free);
            parts := parts || part;
            need := need - part.amount;
            EXIT WHEN need = 0;
        END LOOP;
        IF need > 0 THEN
            verdict := 'insufficient';
            available := p_amount - need;
        END IF;
    END IF;
    IF verdict = 'ok' THEN
        WITH held AS (
            INSERT INTO credit_holds (
                id, account_id, status, amount, key, request_hash, scope, paid_only, reason,
                subject, created_at, expires_at)
            VALUES (
                hold_id, p_account_id, 'open', p_amount, p_key, p_hash, p_scope, p_paid_only,
                p_reason, p_subject, as_of, expires_at)
        ), split AS (
            INSERT INTO credit_hold_lots SELECT * FROM unnest(parts)
        ), lots AS (
            UPDATE credit_lots AS l SET held = l.held + u.amount
            FROM unnest(parts) AS u WHERE l.id = u.lot_id
        )
        UPDATE credit_balances AS b
        SET held = b.held + p_amount, next_expiry = least(b.next_expiry, credit_hold.expires_at)
        WHERE b.account_id = p_account_id
        RETURNING old.next_expiry INTO before;
        -- Whatever ends later is seen to when the matter looks at what ends first.
        IF coalesce(before > expires_at, true) THEN
            PERFORM account_watch(p_account_id, expires_at, as_of);
        END IF;
    END IF;
    IF verdict IN ('ok', 'insufficient') THEN
        SELECT * INTO mine FROM credit_balances WHERE account_id = p_account_id;
        top_up := credit_wants_top_up(mine, as_of);
        IF top_up THEN
            PERFORM credit_want_top_up(p_account_id, as_of);
        END IF;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

-- Many holds of any accounts in one transaction, each with its own verdict. Accounts are locked in
-- the order of their ids; of one account's items the first listed goes first.
CREATE OR REPLACE FUNCTION credit_hold_batch(
    p_account_ids uuid[], p_amounts numeric[], p_keys text[], p_hashes text[], p_reasons text[],
    p_expires_at timestamptz[], p_lifetimes interval[], p_scopes text[], p_paid_only boolean[],
    p_subjects text[], p_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    place integer, verdict text, hold_id uuid, amount numeric, expires_at timestamptz,
    available numeric, status text, captured numeric, created_at timestamptz,
    resolved_at timestamptz, top_up boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    item record;
BEGIN
    PERFORM credit_lock_all(p_account_ids);
    RETURN QUERY SELECT * FROM credit_hold_sure(
        p_account_ids, p_amounts, p_keys, p_hashes, p_reasons, p_expires_at, p_lifetimes,
        p_scopes, p_paid_only, p_subjects, p_at);
    IF FOUND THEN
        RETURN;
    END IF;
    FOR item IN
        SELECT * FROM unnest(
            p_account_ids, p_amounts, p_keys, p_hashes, p_reasons, p_expires_at, p_lifetimes,
            p_scopes, p_paid_only, p_subjects
        ) WITH ORDINALITY AS i(
            account_id, amount, key, hash, reason, expires_at, lifetime, scope, paid_only, subject,
            place)
        ORDER BY i.account_id, i.place
    LOOP
        SELECT item.place, h.* INTO
            place, verdict, hold_id, amount, expires_at, available, status, captured, created_at,
            resolved_at, top_up
        FROM credit_hold(
            item.account_id, item.amount, item.key, item.hash, item.reason, item.expires_at, p_at,
            item.scope, item.paid_only, item.subject, item.lifetime) AS h;
        RETURN NEXT;
    END LOOP;
END;
$$;

-- Spend p_amount of a hold (null: all of it), from its first lot on, and release the rest; final.
-- Verdicts: ok; duplicate (captured before, same amount); captured (another amount), released,
-- lapsed; exceeded; no_hold; no_account.
CREATE OR REPLACE FUNCTION credit_capture(
    p_account_id uuid, p_hold_id uuid, p_amount numeric DEFAULT NULL,
    p_reason text DEFAULT 'capture', p_at timestamptz DEFAULT NULL, p_detail jsonb DEFAULT '{}',
    OUT verdict text, OUT hold_id uuid, OUT transaction_id uuid, OUT captured numeric,
    OUT released numeric, OUT balance numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_enter(p_account_id, p_at);
    known credit_holds;
    entry_key text := public_id('hld', p_hold_id) || '/capture';
BEGIN
    SELECT * INTO known FROM credit_holds WHERE id = p_hold_id AND account_id = p_account_id;
    hold_id := p_hold_id;
    captured := coalesce(p_amount, known.amount);
    released := known.amount - captured;
    verdict := CASE
        WHEN as_of IS NULL THEN 'no_account'
        WHEN known.id IS NULL THEN 'no_hold'
        WHEN known.captured = captured THEN 'duplicate'
        WHEN known.status <> 'open' THEN known.status
        WHEN captured > known.amount THEN 'exceeded'
        ELSE 'ok'
    END;
    IF verdict = 'ok' THEN
        -- Mostly all of it lies in one lot that goes on and that nobody asks back: nothing lapses.
        WITH lot AS (
            UPDATE credit_lots AS l
            SET held = l.held - known.amount, remaining = l.remaining - captured,
                is_open = l.remaining - captured > 0
            FROM credit_hold_lots AS p
            WHERE p.hold_id = known.id AND p.position = 1 AND p.amount = known.amount
                AND l.id = p.lot_id AND l.claimed = 0 AND coalesce(l.expires_at > as_of, true)
            RETURNING l.id
        ), moved AS (
            UPDATE credit_balances AS b
            SET held = b.held - known.amount, balance = b.balance - captured,
                used = b.used + captured, seq = b.seq + 1, last_at = greatest(b.last_at, as_of)
            FROM lot
            WHERE b.account_id = p_account_id
            RETURNING b.balance, b.used, b.seq, b.last_at, lot.id AS lot_id
        ), entry AS (
            INSERT INTO credit_transactions (
                id, account_id, seq, kind, amount, balance_after, used_after, key, reason, subject,
                detail, at, real_at)
            SELECT uuidv7(), p_account_id, m.seq, 'capture', -captured, m.balance, m.used,
                entry_key, p_reason, known.subject, p_detail, m.last_at, clock_timestamp()
            FROM moved AS m
            RETURNING id, balance_after
        ), line AS (
            INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
            SELECT entry.id, moved.lot_id, p_account_id, -captured FROM entry, moved
        )
        UPDATE credit_holds AS h
        SET status = 'captured', captured = credit_capture.captured, resolved_at = as_of
        FROM entry
        WHERE h.id = p_hold_id
        RETURNING entry.id, entry.balance_after INTO transaction_id, balance;
        IF transaction_id IS NULL THEN
            PERFORM credit_capture_parts(known, captured, entry_key, p_reason, as_of, p_detail);
            PERFORM credit_unhold(p_account_id, p_hold_id, captured, as_of);
            UPDATE credit_holds AS h
            SET status = 'captured', captured = credit_capture.captured, resolved_at = as_of
            WHERE h.id = p_hold_id;
        END IF;
    END IF;
    IF transaction_id IS NULL THEN
        SELECT t.id, t.balance_after INTO transaction_id, balance
        FROM credit_transactions AS t WHERE t.key = entry_key;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

-- Many captures of any accounts in one transaction, each with its own verdict; a null amount
-- takes all of a hold.
CREATE OR REPLACE FUNCTION credit_capture_batch(
    p_account_ids uuid[], p_hold_ids uuid[], p_amounts numeric[], p_reasons text[],
    p_details jsonb[], p_at timestamptz DEFAULT NULL)
RETURNS TABLE (
    place integer, verdict text, hold_id uuid, transaction_id uuid, captured numeric,
    released numeric, balance numeric)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    item record;
BEGIN
    PERFORM credit_lock_all(p_account_ids);
    RETURN QUERY SELECT * FROM credit_capture_sure(
        p_account_ids, p_hold_ids, p_amounts, p_reasons, p_details, p_at);
    IF FOUND THEN
        RETURN;
    END IF;
    FOR item IN
        SELECT * FROM unnest(
            p_account_ids, p_hold_ids, p_amounts, p_reasons, p_details
        ) WITH ORDINALITY AS i(account_id, hold_id, amount, reason, detail, place)
        ORDER BY i.account_id, i.place
    LOOP
        SELECT item.place, c.* INTO
            place, verdict, hold_id, transaction_id, captured, released, balance
        FROM credit_capture(
            item.account_id, item.hold_id, item.amount, item.reason, p_at,
            coalesce(item.detail, '{}')) AS c;
        RETURN NEXT;
    END LOOP;
END;
$$;

-- The captured part leaves its lots; what a clawback still waited for in them is lost with it.
CREATE OR REPLACE FUNCTION credit_capture_parts(
    p_hold credit_holds, p_amount numeric, p_key text, p_reason text, p_at timestamptz,
    p_detail jsonb)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    lot_ids uuid[];
    amounts numeric[];
BEGIN
    SELECT array_agg(lot_id ORDER BY position),
        array_agg(least(amount, p_amount - before) ORDER BY position)
    INTO lot_ids, amounts
    FROM (
        SELECT lot_id, position, amount, sum(amount) OVER (ORDER BY position) - amount AS before
        FROM credit_hold_lots
        WHERE hold_id = p_hold.id) AS parts
    WHERE before < p_amount;

    UPDATE credit_balances SET held = held - p_amount WHERE account_id = p_hold.account_id;
    UPDATE credit_lots AS l
    SET held = l.held - u.amount,
        claimed = least(l.claimed, l.held - u.amount),
        lost = l.lost + greatest(l.claimed - (l.held - u.amount), 0)
    FROM unnest(lot_ids, amounts) AS u(lot_id, amount)
    WHERE l.id = u.lot_id;
    PERFORM credit_book(
        p_hold.account_id, 'capture', p_key, NULL, p_reason, p_hold.subject, p_detail, p_at,
        lot_ids, (SELECT array_agg(-amount) FROM unnest(amounts) AS u(amount)));
END;
$$;

-- Give a hold up: its parts go back to their lots, or lapse with those that have ended.
-- Verdicts: ok; duplicate (released before); captured; lapsed; no_hold; no_account.
CREATE OR REPLACE FUNCTION credit_release(
    p_account_id uuid, p_hold_id uuid, p_at timestamptz DEFAULT NULL,
    OUT verdict text, OUT hold_id uuid, OUT released numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_enter(p_account_id, p_at);
    known credit_holds;
BEGIN
    SELECT * INTO known FROM credit_holds WHERE id = p_hold_id AND account_id = p_account_id;
    hold_id := p_hold_id;
    released := known.amount;
    verdict := CASE
        WHEN as_of IS NULL THEN 'no_account'
        WHEN known.id IS NULL THEN 'no_hold'
        WHEN known.status = 'released' THEN 'duplicate'
        WHEN known.status <> 'open' THEN known.status
        ELSE 'ok'
    END;
    IF verdict = 'ok' THEN
        PERFORM credit_unhold(p_account_id, p_hold_id, 0, as_of);
        UPDATE credit_holds SET status = 'released', resolved_at = as_of WHERE id = p_hold_id;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
