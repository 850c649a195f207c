-- Expire every lot and hold of an account whose time has come, each at its own time.
-- Verdicts: ok; no_account.
CREATE OR REPLACE FUNCTION credit_expire(
    p_account_id uuid, p_at timestamptz DEFAULT NULL,
    OUT verdict text, OUT credits numeric, OUT holds integer, OUT next_expiry timestamptz)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_lock(p_account_id, p_at);
BEGIN
    verdict := credit_verdict(as_of, false, false);
    IF verdict = 'ok' THEN
        SELECT s.credits, s.holds INTO credits, holds FROM credit_settle(p_account_id, as_of) AS s;
        SELECT b.next_expiry INTO next_expiry
        FROM credit_balances AS b WHERE b.account_id = p_account_id;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
