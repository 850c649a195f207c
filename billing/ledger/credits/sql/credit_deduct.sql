-- An operator takes credits away, once per key: from lots in burn order, all of the amount or
-- nothing. It is no use of credits. Held parts stay.
-- Verdicts: ok; duplicate (same key and hash); conflict (the key is something else); insufficient
-- (with what is available); no_account.
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
