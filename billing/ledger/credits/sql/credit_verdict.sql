-- The verdict that every verb with a key begins with: what the account and the key's first use say.
CREATE OR REPLACE FUNCTION credit_verdict(
    p_as_of timestamptz, p_is_used boolean, p_is_same boolean)
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_as_of IS NULL THEN 'no_account'
        WHEN p_is_used AND p_is_same THEN 'duplicate'
        WHEN p_is_used THEN 'conflict'
        ELSE 'ok'
    END
$$;
