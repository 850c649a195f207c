-- Record uses of these accounts by the long way; the statements on them show their rows alone.
CREATE OR REPLACE FUNCTION usage_record_unusual(
    p_accounts usage_account[], p_kinds usage_kind[], p_uses usage_input[], p_places integer[],
    p_all boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    accounts usage_account[] := ARRAY(
        SELECT a FROM unnest(p_accounts) AS a
        WHERE a.place IN (SELECT unnest(p_places)) ORDER BY a.place);
BEGIN
    PERFORM set_config('app.accounts', array_to_string(ARRAY(
        SELECT a.account_id FROM unnest(accounts) AS a), ','), true);
    RETURN QUERY SELECT a.* FROM usage_record_rated(accounts, p_kinds, p_uses, p_all) AS a;
END;
$$;
