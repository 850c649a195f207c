-- Publish, once per crossing, that the balance fell below what the account wants to hear of, and
-- that nothing is left. Held credits count until they are spent: a hold that comes and goes is no
-- news. Whoever moves a balance holds its lock, so no crossing is published twice.
CREATE OR REPLACE FUNCTION credit_notify_low() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    at timestamptz := coalesce(NEW.last_at, clock_timestamp());
BEGIN
    PERFORM set_config('app.accounts', NEW.account_id::text, true);
    IF NEW.balance < NEW.low_below AND OLD.balance >= NEW.low_below THEN
        PERFORM credit_publish(
            NEW.account_id, 'credits.low',
            jsonb_build_object(
                'balance', public_decimal(NEW.balance),
                'threshold', public_decimal(NEW.low_below)), at);
    END IF;
    IF NEW.balance = 0 AND OLD.balance > 0 THEN
        PERFORM credit_publish(NEW.account_id, 'credits.empty', '{}', at);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
    RETURN NULL;
END;
$$;
CREATE OR REPLACE TRIGGER credit_low
    AFTER UPDATE OF balance ON credit_balances
    FOR EACH ROW
    WHEN (NEW.balance < OLD.balance AND (NEW.balance = 0
        OR NEW.balance < NEW.low_below AND OLD.balance >= NEW.low_below))
    EXECUTE FUNCTION credit_notify_low();
