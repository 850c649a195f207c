-- Answers for uses that already have a record: the first answer, or a conflict. A batch that is
-- sent again has as many repeats as uses: they are joined by a hash, and only records one by one.
CREATE OR REPLACE FUNCTION usage_repeat_answers(p_uses usage_input[], p_repeats usage_repeat[])
RETURNS SETOF usage_answer
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
AS $$
    SELECT u.place, CASE WHEN b.request_hash = u.hash THEN 'duplicate' ELSE 'conflict' END, b.id,
        b.meter, b.unit_price, b.total_amount, b.currency, b.billing_method, b.billing_status,
        b.is_free_tier, b.charged_units = 0, b.total_amount, NULL::numeric
    FROM (SELECT DISTINCT ON (r.asked) r.asked, r.id FROM unnest(p_repeats) AS r) AS k
    JOIN unnest(p_uses) AS u ON u.id = k.asked
    CROSS JOIN LATERAL (
        SELECT id, request_hash, meter, unit_price, total_amount, currency, billing_method,
            billing_status, is_free_tier, charged_units
        FROM billing_records
        WHERE id = k.id AND month = ANY (usage_record_months(k.id))
        LIMIT 1) AS b
$$;
