-- An operator takes credits away, once per key: from lots in burn order, all of the amount or
-- nothing. It is no use of credits. Held parts stay.
-- Verdicts: ok; duplicate (same key and hash); conflict (the key is something else); insufficient
-- (with what is available); no_account.
CREATE OR REPLACE FUNCTION credit_take(
    p_account_id uuid, p_amount numeric, p_key text, p_hash text, p_reason text,
    p_at timestamptz DEFAULT NULL, p_scope text DEFAULT NULL, p_subject text DEFAULT NULL,
    p_detail jsonb DEFAULT '{}',
    OUT verdict text, OUT transaction_id uuid, OUT amount numeric, OUT balance numeric,
    OUT available numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_enter(p_account_id, p_at);
    entry credit_transactions;
    lot record;
    lot_ids uuid[] := '{}';
    amounts numeric[] := '{}';
    need numeric := p_amount;
BEGIN
    SELECT * INTO entry FROM credit_transactions WHERE key = p_key AND account_id = p_account_id;
    verdict := CASE
        WHEN as_of IS NULL THEN 'no_account'
        WHEN entry.request_hash = p_hash THEN 'duplicate'
        WHEN entry.id IS NOT NULL THEN 'conflict'
        ELSE 'ok'
    END;
    amount := p_amount;
    IF verdict = 'ok' THEN
        FOR lot IN
            SELECT id, remaining - held AS free
            FROM credit_lots
            WHERE account_id = p_account_id AND is_open AND remaining > held
                AND coalesce(scope = p_scope, scope IS NULL)
            ORDER BY (scope IS NULL), priority, expires_at, is_paid, granted_seq
        LOOP
            lot_ids := lot_ids || lot.id;
            amounts := amounts || -least(need, lot.free);
            need := need - least(need, lot.free);
            EXIT WHEN need = 0;
        END LOOP;
        IF need > 0 THEN
            verdict := 'insufficient';
            available := p_amount - need;
        ELSE
            PERFORM credit_book(
                p_account_id, 'adjustment', p_key, p_hash, p_reason, p_subject, p_detail, as_of,
                lot_ids, amounts);
        END IF;
    END IF;
    SELECT t.id, t.balance_after INTO transaction_id, balance
    FROM credit_transactions AS t WHERE t.key = p_key AND t.account_id = p_account_id;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
