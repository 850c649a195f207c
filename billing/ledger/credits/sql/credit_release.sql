-- Give a hold up: its parts go back to their lots, or expire with those that have expired.
-- Verdicts: ok; duplicate (released before); captured; expired; no_hold; no_account.
CREATE OR REPLACE FUNCTION credit_release(
    p_account_id uuid, p_hold_id uuid, p_at timestamptz DEFAULT NULL,
    OUT verdict text, OUT hold_id uuid, OUT released numeric)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
    known record;
BEGIN
    SELECT h.status, h.amount INTO known
    FROM credit_holds AS h WHERE h.id = p_hold_id AND h.account_id = p_account_id;
    hold_id := p_hold_id;
    released := known.amount;
    verdict := credit_hold_verdict(as_of, known.status, known.status = 'released');
    IF verdict = 'ok' THEN
        PERFORM credit_release_lots(p_account_id, p_hold_id, 0, as_of);
        UPDATE credit_holds AS h SET status = 'released', resolved_at = as_of
        WHERE h.id = p_hold_id;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
