-- Write the wish down, once while it is undecided, and have the account's matter, which buys, due.
-- Who wakes it after the commit reads in the transaction's setting `app.top_ups` which accounts
-- asked. The account's lock is held.
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
