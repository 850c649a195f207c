-- What parts come to.
CREATE OR REPLACE FUNCTION credit_sum(p_parts credit_part[]) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(sum(p.amount), 0) FROM unnest(p_parts) AS p
$$;
