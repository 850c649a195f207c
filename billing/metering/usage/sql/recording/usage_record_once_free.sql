-- As usage_record_where_free, once one of the accounts is free, whichever: it waits for that one
-- and holds no other meanwhile. Who locks one of several accounts usually locks them together.
CREATE OR REPLACE FUNCTION usage_record_once_free(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    awaited uuid := p_accounts[1 + floor(random() * cardinality(p_accounts))];
BEGIN
    PERFORM set_config('app.accounts', awaited::text, true);
    PERFORM FROM credit_balances WHERE account_id = awaited FOR NO KEY UPDATE;
    RETURN QUERY SELECT a.*
        FROM usage_record_where_free(p_accounts, p_kinds, p_uses, p_all, p_new) AS a;
END;
$$;
