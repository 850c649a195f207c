-- Record many uses that holds pay, of any accounts, in one transaction, each with its own verdict.
CREATE OR REPLACE FUNCTION usage_record_on_holds(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[])
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    use usage_input;
BEGIN
    PERFORM credit_lock_all(p_accounts);
    FOREACH use IN ARRAY p_uses LOOP
        RETURN NEXT usage_record_on_hold(p_accounts[use.account], p_kinds[use.kind], use);
    END LOOP;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
