-- Whether the account, as it stands at p_at, wants credits bought for it: it asked for that, has
-- less than its threshold, nothing is undecided, and no pause after a failure or a cap runs.
CREATE OR REPLACE FUNCTION credit_wants_top_up(p_account credit_balances, p_at timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(p_account.top_up_below > p_account.balance - p_account.held, false)
        AND NOT p_account.top_up_open
        AND coalesce(p_account.top_up_from <= p_at, true)
$$;

-- Write the wish down, once while it is undecided, and wake the account's matter, which buys.
-- The account's lock is held.
CREATE OR REPLACE FUNCTION credit_want_top_up(p_account_id uuid, p_at timestamptz)
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
END;
$$;

-- Look again whether the account wants credits (its settings changed, a pause is over).
-- Verdicts: ok, with what was found; no_account.
CREATE OR REPLACE FUNCTION credit_look_top_up(
    p_account_id uuid, p_at timestamptz DEFAULT NULL, OUT verdict text, OUT wanted boolean)
LANGUAGE plpgsql AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    as_of timestamptz := credit_enter(p_account_id, p_at);
    mine credit_balances;
BEGIN
    verdict := CASE WHEN as_of IS NULL THEN 'no_account' ELSE 'ok' END;
    UPDATE credit_balances SET top_up_from = NULL
    WHERE account_id = p_account_id AND top_up_from <= as_of;
    SELECT * INTO mine FROM credit_balances WHERE account_id = p_account_id;
    wanted := credit_wants_top_up(mine, as_of);
    IF wanted THEN
        PERFORM credit_want_top_up(p_account_id, as_of);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
