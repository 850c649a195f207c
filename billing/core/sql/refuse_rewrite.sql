-- A row goes on, what it is about stays: the price as it was published, the sum that was asked for.
-- Attached as BEFORE UPDATE OF those columns, FOR EACH STATEMENT: no statement of the programs
-- names them, and those that name others are not asked, for any row.
CREATE OR REPLACE FUNCTION refuse_rewrite() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'restrict_violation',
        MESSAGE = TG_TABLE_NAME || ': what a row is about stays as it was written: '
            || TG_OP || ' refused';
END;
$$;
