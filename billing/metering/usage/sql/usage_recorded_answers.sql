-- Answers for uses whose record was there before: the first answer, or a conflict.
CREATE OR REPLACE FUNCTION usage_recorded_answers(p_uses usage_input[], p_known uuid[])
RETURNS SETOF usage_answer
LANGUAGE sql
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    SELECT u.place, CASE WHEN b.request_hash = u.hash THEN 'duplicate' ELSE 'conflict' END, u.id,
        b.meter, b.unit_price, b.total_amount, b.currency, b.billing_method, b.billing_status,
        b.is_free_tier, b.charged_units = 0, b.total_amount, NULL::numeric
    FROM unnest(p_uses) AS u CROSS JOIN LATERAL (
        SELECT request_hash, meter, unit_price, total_amount, currency, billing_method,
            billing_status, is_free_tier, charged_units
        FROM billing_records WHERE id = u.id LIMIT 1) AS b
    WHERE u.id IN (SELECT unnest(p_known))
$$;
