-- Uses of the accounts at these places, or of all others.
CREATE OR REPLACE FUNCTION usage_uses_of(
    p_uses usage_input[], p_places integer[], p_inside boolean)
RETURNS usage_input[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT ARRAY(
        SELECT u FROM unnest(p_uses) AS u
        WHERE (u.account IN (SELECT unnest(p_places))) = p_inside
        ORDER BY u.place)
$$;
