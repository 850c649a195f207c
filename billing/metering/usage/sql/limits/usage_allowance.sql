-- A limit's included units, plus those used before its period began (`carried`).
CREATE OR REPLACE FUNCTION usage_allowance(p_limit jsonb, OUT included numeric, OUT carried numeric)
LANGUAGE sql IMMUTABLE AS $$
    SELECT (p_limit ->> 'included')::numeric + coalesce((p_limit ->> 'carried')::numeric, 0),
        coalesce((p_limit ->> 'carried')::numeric, 0)
$$;
