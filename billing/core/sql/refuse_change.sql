-- Ledger and audit rows are facts: corrections are new rows. Attached as
-- BEFORE UPDATE OR DELETE OR TRUNCATE ... FOR EACH STATEMENT to every table marked append-only; the
-- roles hold no such right either.
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' refused';
END;
$$;
