-- The id behind its public form: the inverse of public_id. A text that only looks like one gives an
-- id that no row has.
CREATE OR REPLACE FUNCTION public_uuid(p_text text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (
        lpad(to_hex(substring(number FROM 3 FOR 64)::bit(64)::bigint), 16, '0')
        || lpad(to_hex(substring(number FROM 67)::bit(64)::bigint), 16, '0'))::uuid
    FROM (
        SELECT string_agg(
            (strpos('0123456789abcdefghjkmnpqrstvwxyz', sign) - 1)::bit(5)::text, '' ORDER BY i)
        FROM string_to_table(right(p_text, 26), NULL) WITH ORDINALITY AS signs(sign, i)
    ) AS bits(number)
$$;
