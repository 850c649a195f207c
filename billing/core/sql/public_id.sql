-- The public form of an id; the same as billing.core.ids.encode.
CREATE OR REPLACE FUNCTION public_id(p_prefix text, p_id uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT p_prefix || '_' || string_agg(
        substr(
            '0123456789abcdefghjkmnpqrstvwxyz', substring(number FROM i * 5 + 1 FOR 5)::int + 1, 1),
        '' ORDER BY i)
    FROM (SELECT B'00' || ('x' || replace(p_id::text, '-', ''))::bit(128)) AS bits(number),
         generate_series(0, 25) AS i
$$;
