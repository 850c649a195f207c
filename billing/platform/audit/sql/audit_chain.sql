-- Link each entry to the preceding one of its account, or of all if it has none. Two concurrent
-- entries may follow the same one, so that neither waits.
CREATE OR REPLACE FUNCTION audit_chain() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    before bytea;
BEGIN
    IF NEW.account_id IS NULL THEN
        SELECT t.id, t.digest INTO NEW.previous_id, before
        FROM billing_audit AS t ORDER BY t.id DESC LIMIT 1;
    ELSE
        SELECT t.id, t.digest INTO NEW.previous_id, before
        FROM billing_audit AS t WHERE t.account_id = NEW.account_id ORDER BY t.id DESC LIMIT 1;
    END IF;
    NEW.digest := audit_digest(NEW, before);
    RETURN NEW;
END;
$$;

CREATE OR REPLACE TRIGGER audit_chain
    BEFORE INSERT ON billing_audit
    FOR EACH ROW EXECUTE FUNCTION audit_chain();
