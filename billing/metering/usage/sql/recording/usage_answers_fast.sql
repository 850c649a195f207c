-- Answers for uses of the fast path: all are recorded.
CREATE OR REPLACE FUNCTION usage_answers_fast(p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS SETOF usage_answer
LANGUAGE sql STABLE AS $$
    SELECT u.place, 'recorded', u.id, k.meter, k.unit_price, t.total, 'CREDIT', k.method,
        'completed', k.unit_price = 0 AND k.product_id IS NOT NULL, false, t.total, NULL::numeric
    FROM unnest(p_uses) AS u
    JOIN unnest(p_kinds) AS k ON k.kind = u.kind
    CROSS JOIN LATERAL (
        SELECT usage_charge_units(u.amount, k.unit_price, 'CREDIT')) AS t(total)
$$;
