-- The verdict that every verb on a hold begins with. `p_is_repeat`: it was ended this very way.
CREATE OR REPLACE FUNCTION credit_hold_verdict(
    p_as_of timestamptz, p_status text, p_is_repeat boolean)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_as_of IS NULL THEN 'no_account'
        WHEN p_status IS NULL THEN 'no_hold'
        WHEN p_is_repeat THEN 'duplicate'
        WHEN p_status <> 'open' THEN p_status
        ELSE 'ok'
    END
$$;
