-- The answer for a rated use.
CREATE OR REPLACE FUNCTION usage_answer_of(p_record usage_rated) RETURNS SETOF usage_answer
LANGUAGE sql STABLE AS $$
    SELECT (p_record.use).place, coalesce(p_record.failure, 'recorded'), (p_record.use).id,
        p_record.meter, p_record.unit_price, p_record.total_amount, p_record.currency,
        p_record.billing_method, p_record.billing_status, p_record.is_free_tier,
        p_record.charged_units = 0, p_record.total_amount, p_record.available
$$;
