-- Expire one lot now, whatever its date: a trial that is over. A held part stays with its hold.
-- Repeatable: the answer counts all that the lot has lost to the clock so far.
-- Verdicts: ok; no_grant; no_account.
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
