-- Expire every hold and lot whose time has come, in the order of their times, each at its own time.
-- Refused while there is more than one part: whoever waits for the account's lock waits no longer
-- than for a part. Expects the account's lock.
CREATE OR REPLACE FUNCTION credit_settle(
    p_account_id uuid, p_at timestamptz, OUT credits numeric, OUT holds integer)
LANGUAGE plpgsql AS $$
BEGIN
    IF credit_next_part(p_account_id, p_at) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
            MESSAGE = 'holds of this account expire in parts, which are not done yet';
    END IF;
    SELECT s.credits, s.holds INTO credits, holds FROM credit_settle_part(p_account_id, p_at) AS s;
END;
$$;
