-- Decide one account's items of a batch, for credit_debit_many, which holds the lock, writes, and
-- pins the plans to index probes: on cold or skewed statistics the planner would read whole
-- ledgers. Lots are fetched only as items need them.
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
