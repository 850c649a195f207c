-- As usage_record, followed by a row for each account that now needs a top-up, with verdict
-- `top_up` and the account as `id`: its matter must be woken.
CREATE OR REPLACE FUNCTION usage_record_with_top_ups(
    p_accounts uuid[], p_kinds usage_kind[], p_uses usage_input[], p_all boolean, p_new boolean)
RETURNS SETOF usage_answer
LANGUAGE plpgsql AS $$
DECLARE
    answer usage_answer;
BEGIN
    RETURN QUERY SELECT a.* FROM usage_record(p_accounts, p_kinds, p_uses, p_all, p_new) AS a;
    IF coalesce(current_setting('app.top_ups', true), '') <> '' THEN
        answer.verdict := 'top_up';
        FOREACH answer.id IN ARRAY string_to_array(current_setting('app.top_ups'), ',')::uuid[]
        LOOP
            RETURN NEXT answer;
        END LOOP;
    END IF;
END;
$$;
