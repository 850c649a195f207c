-- As usage_record_with_top_ups, but if other transactions lock the accounts for longer than a
-- moment, it fails with lock_not_available, and nothing was done.
CREATE OR REPLACE FUNCTION usage_record_soon(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql
SET lock_timeout = '50ms'
AS $$
BEGIN
    RETURN QUERY SELECT a.*
        FROM usage_record_with_top_ups(p_accounts, p_kinds, p_uses, p_all, p_new) AS a;
END;
$$;
