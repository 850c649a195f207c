-- A note for time that was not served, written by release 0.1.0, which names no kind: its key says
-- what it is. No other note has such a key and the default kind.
CREATE OR REPLACE FUNCTION credit_note_unserved() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.kind := 'unserved';
    RETURN NEW;
END;
$$;
CREATE OR REPLACE TRIGGER kind_of_before
    BEFORE INSERT ON credit_notes
    FOR EACH ROW
    WHEN (NEW.kind = 'forgiven' AND NEW.fact_key LIKE '%/unserved')
    EXECUTE FUNCTION credit_note_unserved();
