-- The form of an id that leaves the database; the same as billing.core.ids.encode.
CREATE OR REPLACE FUNCTION public_id(p_prefix text, p_id uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT p_prefix || '_' || string_agg(
        substr('0123456789abcdefghjkmnpqrstvwxyz', substring(number FROM i * 5 + 1 FOR 5)::int + 1, 1),
        '' ORDER BY i)
    FROM (SELECT B'00' || ('x' || replace(p_id::text, '-', ''))::bit(128)) AS bits(number),
         generate_series(0, 25) AS i
$$;

-- Credits as text: at least two decimals, no other trailing zeros (billing.core.money).
CREATE OR REPLACE FUNCTION public_decimal(p_value numeric) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_value = 0 THEN '0'
        WHEN scale(trim_scale(p_value)) < 2 THEN round(p_value, 2)::text
        ELSE trim_scale(p_value)::text
    END
$$;
