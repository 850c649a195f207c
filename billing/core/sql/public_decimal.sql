-- Credits as text: at least two decimals, no other trailing zeros (billing.core.money).
CREATE OR REPLACE FUNCTION public_decimal(p_value numeric) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE
        WHEN p_value = 0 THEN '0'
        WHEN scale(trim_scale(p_value)) < 2 THEN round(p_value, 2)::text
        ELSE trim_scale(p_value)::text
    END
$$;
