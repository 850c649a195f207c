-- Make writers to a month that is about to be detached retry.
CREATE OR REPLACE FUNCTION usage_refuse_detached() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'lock_not_available',
        MESSAGE = 'the month of this use is being detached';
END;
$$;
