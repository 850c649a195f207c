-- A lot whose end moves keeps the end that it had, with the number of the ledger's last row then:
-- what was spent before is explained by that end. Whoever moves it holds the account's lock.
-- After the change and not before it: a row trigger before an update locks each row of every
-- update of its table, also where its columns stay, and a use changes a lot.
CREATE OR REPLACE FUNCTION credit_keep_end() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credit_lots AS l
    SET ends_before = coalesce(l.ends_before, '[]') || jsonb_build_object(
        'expires_at', OLD.expires_at,
        'seq', (SELECT b.seq FROM credit_balances AS b WHERE b.account_id = OLD.account_id))
    WHERE l.id = NEW.id;
    RETURN NULL;
END;
$$;
CREATE OR REPLACE TRIGGER credit_end
    AFTER UPDATE OF expires_at ON credit_lots
    FOR EACH ROW
    WHEN (NEW.expires_at IS DISTINCT FROM OLD.expires_at)
    EXECUTE FUNCTION credit_keep_end();
