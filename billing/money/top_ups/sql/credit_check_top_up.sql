-- Look again whether the account wants credits (its settings changed, a pause is over).
-- Verdicts: ok, with what was found; no_account.
CREATE OR REPLACE FUNCTION credit_check_top_up(
    p_account_id uuid, p_at timestamptz DEFAULT NULL, OUT verdict text, OUT wanted boolean)
LANGUAGE plpgsql AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_open(p_account_id, p_at);
BEGIN
    verdict := credit_verdict(as_of, false, false);
    UPDATE credit_balances SET top_up_from = NULL
    WHERE account_id = p_account_id AND top_up_from <= as_of;
    wanted := (
        SELECT credit_wants_top_up(b, as_of) FROM credit_balances AS b
        WHERE b.account_id = p_account_id);
    IF wanted THEN
        PERFORM credit_request_top_up(p_account_id, as_of);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
