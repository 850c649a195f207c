-- Many debits of any accounts in one transaction, each with its own verdict: a refused one leaves
-- the others alone. Accounts are locked in the order of their ids; of one account's items the
-- first listed goes first. Amounts are positive and already rounded.
-- A forced item may go beyond its lots, up to the account's overdraft: what no lot covers is owed,
-- and the next grant pays it. `top_up` says that this item made the account want more credits.
-- Verdicts: ok; duplicate (same key and hash: the first answer, also within one batch); conflict
-- (same key, other hash); insufficient (with what is available to this item); no_account.
-- Lots are fetched only as items need them, everything is written by four statements at the end,
-- and the plans are pinned to index probes: on cold or skewed statistics the planner would read
-- whole ledgers.
CREATE OR REPLACE FUNCTION credit_debit_batch(
    p_account_ids uuid[], p_amounts numeric[], p_keys text[], p_hashes text[], p_reasons text[],
    p_scopes text[], p_paid_only boolean[], p_subjects text[], p_details jsonb[],
    p_at timestamptz DEFAULT NULL, p_forced boolean[] DEFAULT NULL)
RETURNS TABLE (
    place integer, verdict text, transaction_id uuid, amount numeric, balance numeric,
    available numeric, debt numeric, top_up boolean)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    everyone text;
    item record;
    -- What will be written.
    entry credit_transactions;
    entries credit_transactions[] := '{}';
    line credit_transaction_lots;
    lines credit_transaction_lots[] := '{}';
    mine credit_balances;
    moved credit_balances[] := '{}';
    -- Which entry took the key of the item at a place.
    takers integer[] := array_fill(NULL::integer, ARRAY[cardinality(p_keys)]);
    -- Lots of the account at hand, as far as fetched; `front` is the first with something free.
    lots CURSOR (owner uuid) FOR
        SELECT id, remaining - held AS free, scope, is_paid
        FROM credit_lots
        WHERE account_id = owner AND is_open AND remaining > held
        ORDER BY (scope IS NULL), priority, expires_at, is_paid, granted_seq;
    lot record;
    lot_ids uuid[];
    lot_free numeric[];
    lot_scopes text[];
    lot_paid boolean[];
    front integer;
    picks integer[];
    pick integer;
    need numeric;
    room numeric;
    wanting uuid[] := '{}';
    wanting_at timestamptz[] := '{}';
BEGIN
    everyone := (SELECT string_agg(DISTINCT id::text, ',') FROM unnest(p_account_ids) AS u(id));
    PERFORM set_config('app.accounts', everyone, true);
    PERFORM 1 FROM credit_balances
    WHERE account_id = ANY (p_account_ids)
    ORDER BY account_id
    FOR NO KEY UPDATE;

    FOR item IN
        SELECT
            i.account_id, i.amount, i.key, i.hash, i.reason, i.scope, i.paid_only, i.subject,
            i.detail, i.forced, i.place::integer,
            lag(i.place::integer) OVER (PARTITION BY i.account_id, i.key ORDER BY i.place) AS before,
            t.id AS old_id, t.request_hash AS old_hash, t.balance_after AS old_balance,
            t.debt AS old_debt
        FROM unnest(
            p_account_ids, p_amounts, p_keys, p_hashes, p_reasons, p_scopes, p_paid_only,
            p_subjects, p_details, p_forced
        ) WITH ORDINALITY AS i(
            account_id, amount, key, hash, reason, scope, paid_only, subject, detail, forced,
            place)
        LEFT JOIN LATERAL (
            SELECT id, request_hash, balance_after, debt FROM credit_transactions
            WHERE key = i.key AND account_id = i.account_id
            LIMIT 1) AS t ON true
        ORDER BY i.account_id, i.place
    LOOP
        place := item.place;
        amount := item.amount;
        transaction_id := NULL;
        balance := NULL;
        available := NULL;
        debt := 0;
        top_up := false;

        IF mine.account_id IS DISTINCT FROM item.account_id THEN
            IF entry.account_id = mine.account_id THEN
                moved := moved || mine;
            END IF;
            IF mine.account_id IS NOT NULL THEN
                CLOSE lots;
            END IF;
            mine := credit_debit_enter(item.account_id, p_at);
            IF mine.account_id IS NULL THEN
                verdict := 'no_account';
                RETURN NEXT;
                CONTINUE;
            END IF;
            OPEN lots(item.account_id);
            lot_ids := '{}';
            lot_free := '{}';
            lot_scopes := '{}';
            lot_paid := '{}';
            front := 1;
        END IF;

        IF item.old_id IS NOT NULL THEN
            verdict := CASE WHEN item.old_hash = item.hash THEN 'duplicate' ELSE 'conflict' END;
            transaction_id := item.old_id;
            balance := item.old_balance;
            debt := item.old_debt;
            RETURN NEXT;
            CONTINUE;
        END IF;
        takers[place] := takers[item.before];
        IF takers[place] IS NOT NULL THEN
            transaction_id := entries[takers[place]].id;
            balance := entries[takers[place]].balance_after;
            debt := entries[takers[place]].debt;
            verdict := CASE WHEN entries[takers[place]].request_hash = item.hash
                THEN 'duplicate' ELSE 'conflict' END;
            RETURN NEXT;
            CONTINUE;
        END IF;

        -- Find lots that cover the item, before any of them is touched.
        picks := '{}';
        pick := front;
        need := amount;
        LOOP
            IF pick > cardinality(lot_ids) THEN
                FETCH lots INTO lot;
                EXIT WHEN NOT FOUND;
                lot_ids := lot_ids || lot.id;
                lot_free := lot_free || lot.free;
                lot_scopes := lot_scopes || lot.scope;
                lot_paid := lot_paid || lot.is_paid;
            END IF;
            IF lot_free[pick] > 0 AND coalesce(lot_scopes[pick] = item.scope, lot_scopes[pick] IS NULL)
                AND (lot_paid[pick] OR NOT item.paid_only)
            THEN
                picks := picks || pick;
                need := need - least(need, lot_free[pick]);
                EXIT WHEN need = 0;
            END IF;
            pick := pick + 1;
        END LOOP;
        room := CASE WHEN item.forced THEN greatest(mine.overdraft - mine.debt, 0) ELSE 0 END;
        IF need <= room THEN
            mine.seq := mine.seq + 1;
            mine.balance := mine.balance - (amount - need);
            mine.debt := mine.debt + need;
            mine.used := mine.used + amount;
        END IF;
        IF mine.top_up_below IS NOT NULL THEN
            top_up := credit_wants_top_up(mine, mine.last_at);
            IF top_up THEN
                mine.top_up_open := true;
                wanting := wanting || mine.account_id;
                wanting_at := wanting_at || mine.last_at;
            END IF;
        END IF;
        IF need > room THEN
            verdict := 'insufficient';
            available := amount - need + room;
            RETURN NEXT;
            CONTINUE;
        END IF;

        entry.id := uuidv7();
        entry.account_id := item.account_id;
        entry.seq := mine.seq;
        entry.kind := 'debit';
        entry.amount := need - amount;
        entry.debt := need;
        entry.scope := item.scope;
        entry.paid_only := coalesce(item.paid_only, false);
        entry.balance_after := mine.balance;
        entry.used_after := mine.used;
        entry.key := item.key;
        entry.request_hash := item.hash;
        entry.reason := item.reason;
        entry.subject := item.subject;
        entry.detail := coalesce(item.detail, '{}');
        entry.at := mine.last_at;
        entry.real_at := clock_timestamp();
        entries := entries || entry;
        takers[place] := cardinality(entries);
        line.transaction_id := entry.id;
        line.account_id := item.account_id;
        debt := need;
        need := amount - debt;
        FOREACH pick IN ARRAY picks LOOP
            line.lot_id := lot_ids[pick];
            line.amount := -least(need, lot_free[pick]);
            lines := lines || line;
            lot_free[pick] := lot_free[pick] + line.amount;
            need := need + line.amount;
        END LOOP;
        WHILE lot_free[front] = 0 LOOP
            front := front + 1;
        END LOOP;
        verdict := 'ok';
        transaction_id := entry.id;
        balance := mine.balance;
        RETURN NEXT;
    END LOOP;
    IF entry.account_id = mine.account_id THEN
        moved := moved || mine;
    END IF;

    PERFORM set_config('app.accounts', everyone, true);
    IF cardinality(entries) > 0 THEN
        INSERT INTO credit_transactions SELECT * FROM unnest(entries);
        INSERT INTO credit_transaction_lots SELECT * FROM unnest(lines);
        UPDATE credit_lots AS l
        SET remaining = l.remaining + u.amount, is_open = l.remaining + u.amount > 0
        FROM (SELECT lot_id, sum(amount) AS amount FROM unnest(lines) GROUP BY lot_id) AS u
        WHERE l.id = u.lot_id;
        UPDATE credit_balances AS b
        SET balance = u.balance, debt = u.debt, used = u.used, seq = u.seq, last_at = u.last_at
        FROM unnest(moved) AS u
        WHERE b.account_id = u.account_id;
    END IF;
    PERFORM credit_want_top_up(u.account_id, u.at)
    FROM unnest(wanting, wanting_at) AS u(account_id, at);
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

-- An account's turn in a batch: show its rows alone (row-level security reads the list anew in
-- every statement), settle what has lapsed, and read its row with `last_at` moved to the time that
-- the new entries carry.
CREATE OR REPLACE FUNCTION credit_debit_enter(p_account_id uuid, p_at timestamptz)
RETURNS credit_balances
LANGUAGE plpgsql AS $$
DECLARE
    as_of timestamptz;
    mine credit_balances;
BEGIN
    PERFORM set_config('app.accounts', p_account_id::text, true);
    as_of := coalesce(
        p_at, (SELECT clock_at FROM accounts WHERE id = p_account_id), clock_timestamp());
    SELECT * INTO mine FROM credit_balances WHERE account_id = p_account_id;
    IF mine.next_expiry <= as_of THEN
        PERFORM credit_settle(p_account_id, as_of);
        SELECT * INTO mine FROM credit_balances WHERE account_id = p_account_id;
    END IF;
    mine.last_at := greatest(mine.last_at, as_of);
    RETURN mine;
END;
$$;
