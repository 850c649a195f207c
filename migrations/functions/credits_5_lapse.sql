-- End every lot and hold of an account whose time has come, each at its own time.
-- Verdicts: ok; no_account.
CREATE OR REPLACE FUNCTION credit_lapse(
    p_account_id uuid, p_at timestamptz DEFAULT NULL,
    OUT verdict text, OUT credits numeric, OUT holds integer, OUT next_expiry timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_lock(p_account_id, p_at);
BEGIN
    verdict := CASE WHEN as_of IS NULL THEN 'no_account' ELSE 'ok' END;
    IF verdict = 'ok' THEN
        SELECT s.credits, s.holds INTO credits, holds FROM credit_settle(p_account_id, as_of) AS s;
        SELECT b.next_expiry INTO next_expiry
        FROM credit_balances AS b WHERE b.account_id = p_account_id;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;

-- End one lot now, whatever its date: a trial that is over. A held part stays with its hold.
-- Repeatable: the answer counts all that the lot has lost to the clock so far.
-- Verdicts: ok; no_grant; no_account.
CREATE OR REPLACE FUNCTION credit_lapse_lot(
    p_account_id uuid, p_grant_key text, p_at timestamptz DEFAULT NULL,
    p_reason text DEFAULT 'ended',
    OUT verdict text, OUT lapsed numeric, OUT held numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_enter(p_account_id, p_at);
    lot credit_lots;
BEGIN
    SELECT * INTO lot FROM credit_lots
    WHERE grant_key = p_grant_key AND account_id = p_account_id;
    verdict := CASE
        WHEN as_of IS NULL THEN 'no_account'
        WHEN lot.id IS NULL THEN 'no_grant'
        ELSE 'ok'
    END;
    IF verdict = 'ok' THEN
        IF lot.expires_at > as_of OR lot.expires_at IS NULL THEN
            UPDATE credit_lots SET expires_at = as_of WHERE id = lot.id;
            PERFORM credit_end_lot(p_account_id, lot.id, as_of, p_reason);
        END IF;
        held := lot.held;
        SELECT coalesce(-sum(l.amount), 0) INTO lapsed
        FROM credit_transaction_lots AS l
        JOIN credit_transactions AS t ON t.id = l.transaction_id
        WHERE l.lot_id = lot.id AND t.kind = 'lapse';
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
