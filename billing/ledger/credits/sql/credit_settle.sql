-- Expire every hold and lot whose time has come, in the order of their times, each at its own time.
-- Expects the account's lock.
CREATE OR REPLACE FUNCTION credit_settle(
    p_account_id uuid, p_at timestamptz, OUT credits numeric, OUT holds integer)
LANGUAGE plpgsql AS $$
DECLARE
    due record;
BEGIN
    credits := 0;
    holds := 0;
    FOR due IN
        SELECT 'hold' AS what, id, expires_at, amount
        FROM credit_holds
        WHERE account_id = p_account_id AND status = 'open' AND expires_at <= p_at
        UNION ALL
        SELECT 'lot', id, expires_at, NULL
        FROM credit_lots
        WHERE account_id = p_account_id AND is_open AND expires_at <= p_at
        ORDER BY expires_at, what, id
    LOOP
        IF due.what = 'hold' THEN
            credits := credits + credit_release_lots(p_account_id, due.id, 0, due.expires_at);
            holds := holds + 1;
            UPDATE credit_holds SET status = 'expired', resolved_at = due.expires_at
            WHERE id = due.id;
            PERFORM credit_publish(
                p_account_id, 'credits.hold_expired',
                jsonb_build_object(
                    'hold_id', public_id('hld', due.id), 'credits', public_decimal(due.amount)),
                due.expires_at);
        ELSE
            credits := credits
                + credit_expire_unspent(p_account_id, due.id, due.expires_at, 'expired');
        END IF;
    END LOOP;
    UPDATE credit_balances
    SET next_expiry = least(
        (SELECT min(expires_at) FROM credit_lots
         WHERE account_id = p_account_id AND is_open AND expires_at > p_at),
        (SELECT min(expires_at) FROM credit_holds
         WHERE account_id = p_account_id AND status = 'open' AND expires_at > p_at))
    WHERE account_id = p_account_id;
END;
$$;
