-- Of a month that is about to go: whoever would change one of its rows tries again.
CREATE OR REPLACE FUNCTION usage_refuse_detached() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
        MESSAGE = 'the month of this use is being detached';
END;
$$;
