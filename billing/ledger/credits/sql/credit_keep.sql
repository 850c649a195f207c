-- A lot that has just arrived may outlive its cycle: from then on it is there by rollover.
-- Verdicts: ok; no_account.
CREATE OR REPLACE FUNCTION credit_keep(
    p_account_id uuid, p_grant_key text, p_kept_from timestamptz, p_at timestamptz,
    OUT verdict text)
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
BEGIN
    verdict := credit_verdict(as_of, false, false);
    UPDATE credit_lots AS l SET kept_from = p_kept_from
    WHERE l.grant_key = p_grant_key AND l.account_id = p_account_id;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
