-- A row's status changes, its subject does not: a published price, a requested sum. Attached as
-- BEFORE UPDATE OF those columns, FOR EACH STATEMENT: the programs' statements never name them, and
-- statements on other columns do not fire it.
CREATE OR REPLACE FUNCTION refuse_rewrite() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = TG_TABLE_NAME || ': what a row is about stays as it was written: '
            || TG_OP || ' refused';
END;
$$;
