-- Expire a part of what is due of an account (credit_settle_part), for when one statement has no
-- time for all of it. Returns how many holds expired.
CREATE OR REPLACE FUNCTION credit_expire_ahead(
    p_account_id uuid, p_at timestamptz DEFAULT NULL, OUT verdict text, OUT holds integer)
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
        SELECT s.holds INTO holds FROM credit_settle_part(p_account_id, as_of) AS s;
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
