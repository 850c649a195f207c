SET LOCAL check_function_bodies = off;

CREATE OR REPLACE FUNCTION money_exponent(p_currency text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_currency IN ('CLF', 'UYW') THEN 4
        WHEN p_currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
        WHEN p_currency IN (
            'BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI',
            'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
        ELSE 2
    END
$$;

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

CREATE OR REPLACE FUNCTION credit_request_top_up(p_account_id uuid, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH asked AS (
        UPDATE credit_balances SET top_up_open = true, top_up_from = NULL
        WHERE account_id = p_account_id AND NOT top_up_open
        RETURNING balance - held AS available
    )
    INSERT INTO top_ups (id, account_id, status, pack, threshold, available, wanted_at)
    SELECT uuidv7(), p_account_id, 'wanted', s.pack, s.threshold, asked.available, p_at
    FROM asked, top_up_settings AS s
    WHERE s.account_id = p_account_id;
    PERFORM account_watch(p_account_id, p_at, p_at);
    PERFORM set_config('app.top_ups',
        concat_ws(',', nullif(current_setting('app.top_ups', true), ''), p_account_id), true);
END;
$$;
