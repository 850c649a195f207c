-- Answers for uses within the plan's allowance: all are recorded.
CREATE OR REPLACE FUNCTION usage_answers_included_fast(
    p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS SETOF usage_answer
LANGUAGE sql STABLE AS $$
    SELECT u.place, 'recorded', u.id, k.meter, k.unit_price, 0::numeric, 'CREDIT',
        'subscription_included', 'completed', false, true, 0::numeric, NULL::numeric
    FROM unnest(p_uses) AS u
    JOIN unnest(p_kinds) AS k ON k.kind = u.kind
$$;
