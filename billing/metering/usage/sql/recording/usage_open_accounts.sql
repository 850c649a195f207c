-- Lock accounts, listed in the order of their ids and shown, and open their periods, including
-- those of late uses. `is_current`: all uses are in their account's open period.
CREATE OR REPLACE FUNCTION usage_open_accounts(
    p_accounts uuid[], p_uses usage_input[], OUT accounts usage_account[], OUT is_current boolean)
LANGUAGE plpgsql AS $$
DECLARE
    locked record := usage_lock(p_accounts);
    real_at timestamptz := clock_timestamp();
    one record;
BEGIN
    accounts := usage_read_accounts(
        p_accounts, locked.periods, locked.budgets, locked.clocks, real_at);
    FOR one IN SELECT a.account_id, a.as_of FROM unnest(accounts) AS a WHERE a.is_due LOOP
        PERFORM set_config('app.accounts', one.account_id::text, true);
        PERFORM usage_open_period(one.account_id, one.as_of);
    END LOOP;
    IF FOUND THEN
        PERFORM set_config('app.accounts', array_to_string(p_accounts, ','), true);
        locked := usage_lock(p_accounts);
        accounts := usage_read_accounts(
            p_accounts, locked.periods, locked.budgets, locked.clocks, real_at);
    END IF;
    is_current := true;
    IF EXISTS (SELECT FROM unnest(p_uses) AS u WHERE u.used_at IS NOT NULL) THEN
        FOR one IN SELECT DISTINCT o.account_id, o.used_at, o.is_late
            FROM usage_outside_period(accounts, p_uses) AS o
        LOOP
            is_current := false;
            IF one.is_late THEN
                PERFORM usage_ensure_past_period(one.account_id, one.used_at);
            END IF;
        END LOOP;
    END IF;
END;
$$;
