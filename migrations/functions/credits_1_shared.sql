-- The parts that the credit functions share. Each expects the account's lock to be held, except
-- credit_lock and credit_enter, which take it. READ COMMITTED is assumed: every statement of a
-- function sees what the lock's last holder committed, so lots are read after the lock, never with
-- it (one statement for both reads lots from before the wait and burns them twice).

-- Show the account's rows, take its lock, and tell its time: the caller's, its clock's, or now.
-- Null when there is no such account.
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

-- Take the locks of many accounts, in the one order everybody keeps.
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

-- credit_lock, then end what has lapsed by that time.
CREATE OR REPLACE FUNCTION credit_enter(p_account_id uuid, p_at timestamptz) RETURNS timestamptz
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

-- One ledger row with its split over lots, the lots and the balance moved with it. Amounts are
-- signed. A row is never earlier than the one before it.
CREATE OR REPLACE FUNCTION credit_book(
    p_account_id uuid, p_kind text, p_key text, p_hash text, p_reason text, p_subject text,
    p_detail jsonb, p_at timestamptz, p_lots uuid[], p_amounts numeric[])
RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    total numeric := (SELECT coalesce(sum(amount), 0) FROM unnest(p_amounts) AS u(amount));
    spent numeric := CASE WHEN p_kind IN ('debit', 'capture') THEN -total ELSE 0 END;
    -- A grant that pays what was owed: the balance and the debt go down together.
    owed numeric := CASE WHEN p_kind = 'debt' THEN total ELSE 0 END;
    row_id uuid := uuidv7();
BEGIN
    UPDATE credit_lots AS l
    SET remaining = l.remaining + u.amount, is_open = l.remaining + u.amount > 0
    FROM unnest(p_lots, p_amounts) AS u(lot_id, amount)
    WHERE l.id = u.lot_id;

    WITH moved AS (
        UPDATE credit_balances
        SET balance = balance + total, debt = debt + owed, used = used + spent, seq = seq + 1,
            last_at = greatest(last_at, p_at)
        WHERE account_id = p_account_id
        RETURNING balance, used, seq, last_at
    )
    INSERT INTO credit_transactions (
        id, account_id, seq, kind, amount, debt, balance_after, used_after, key, request_hash,
        reason, subject, detail, at, real_at)
    SELECT
        row_id, p_account_id, seq, p_kind, total, owed, balance, used, p_key, p_hash,
        p_reason, p_subject, p_detail, last_at, clock_timestamp()
    FROM moved;

    INSERT INTO credit_transaction_lots (transaction_id, lot_id, account_id, amount)
    SELECT row_id, lot_id, p_account_id, amount FROM unnest(p_lots, p_amounts) AS u(lot_id, amount);
    RETURN row_id;
END;
$$;

-- A fact for the outside, numbered under the account's lock.
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

-- Part of a lot ends unspent: its entry, and the event that says so.
CREATE OR REPLACE FUNCTION credit_lapse_part(
    p_account_id uuid, p_lot_id uuid, p_amount numeric, p_key text, p_at timestamptz, p_reason text)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM credit_book(
        p_account_id, 'lapse', p_key, NULL, p_reason, public_id('lot', p_lot_id), '{}', p_at,
        ARRAY[p_lot_id], ARRAY[-p_amount]);
    PERFORM credit_publish(
        p_account_id, 'credits.expired',
        jsonb_build_object(
            'lot_id', public_id('lot', p_lot_id),
            'credits', public_decimal(p_amount),
            'balance', public_decimal(balance),
            'reason', p_reason),
        p_at)
    FROM credit_balances WHERE account_id = p_account_id;
END;
$$;

-- A lot's time is over: what is neither spent nor held lapses. Returns how much.
CREATE OR REPLACE FUNCTION credit_end_lot(
    p_account_id uuid, p_lot_id uuid, p_at timestamptz, p_reason text)
RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    free numeric := (SELECT remaining - held FROM credit_lots WHERE id = p_lot_id);
BEGIN
    IF free > 0 THEN
        PERFORM credit_lapse_part(
            p_account_id, p_lot_id, free, public_id('lot', p_lot_id) || '/lapse', p_at, p_reason);
    END IF;
    RETURN free;
END;
$$;

-- Give back what a hold keeps beyond `p_keep` credits, counted from its first lot. Of each part,
-- first what a clawback waits for is taken, then what belongs to an ended lot lapses.
-- Returns how much lapsed.
CREATE OR REPLACE FUNCTION credit_unhold(
    p_account_id uuid, p_hold_id uuid, p_keep numeric, p_at timestamptz)
RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
    part record;
    key text := public_id('hld', p_hold_id) || '/';
    claim numeric;
    lapsed numeric := 0;
BEGIN
    FOR part IN
        SELECT lot_id, least(amount, reach - p_keep) AS amount
        FROM (
            SELECT lot_id, position, amount, sum(amount) OVER (ORDER BY position) AS reach
            FROM credit_hold_lots
            WHERE hold_id = p_hold_id) AS parts
        WHERE reach > p_keep
        ORDER BY position
    LOOP
        SELECT least(claimed, part.amount) INTO claim FROM credit_lots WHERE id = part.lot_id;
        UPDATE credit_lots
        SET held = held - part.amount, claimed = claimed - claim, clawed = clawed + claim
        WHERE id = part.lot_id;
        UPDATE credit_balances SET held = held - part.amount WHERE account_id = p_account_id;
        IF claim > 0 THEN
            PERFORM credit_book(
                p_account_id, 'clawback', key || public_id('lot', part.lot_id) || '/clawback',
                NULL, 'released', public_id('hld', p_hold_id), '{}', p_at,
                ARRAY[part.lot_id], ARRAY[-claim]);
        END IF;
        PERFORM 1 FROM credit_lots WHERE id = part.lot_id AND expires_at <= p_at;
        IF FOUND AND part.amount > claim THEN
            PERFORM credit_lapse_part(
                p_account_id, part.lot_id, part.amount - claim,
                key || public_id('lot', part.lot_id) || '/lapse', p_at, 'released');
            lapsed := lapsed + part.amount - claim;
        END IF;
    END LOOP;
    RETURN lapsed;
END;
$$;

-- End every hold and lot whose time has come, in the order of their times, each at its own time.
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
            credits := credits + credit_unhold(p_account_id, due.id, 0, due.expires_at);
            holds := holds + 1;
            UPDATE credit_holds SET status = 'lapsed', resolved_at = due.expires_at
            WHERE id = due.id;
            PERFORM credit_publish(
                p_account_id, 'credits.hold_lapsed',
                jsonb_build_object(
                    'hold_id', public_id('hld', due.id), 'credits', public_decimal(due.amount)),
                due.expires_at);
        ELSE
            credits := credits + credit_end_lot(p_account_id, due.id, due.expires_at, 'expired');
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
