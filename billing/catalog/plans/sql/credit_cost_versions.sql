-- The credit costs of one operation, each with its time: past ones, then its active row, else the
-- built-in price, also in billing/catalog/plans/rules.py; a test compares the two [F5]. Null: it
-- has no price.
CREATE OR REPLACE FUNCTION credit_cost_versions(p_operation text)
RETURNS TABLE (cost numeric, effective_from timestamptz, effective_to timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT v.cost, lag(v.effective_to, 1, '-infinity') OVER (ORDER BY v.effective_to),
        v.effective_to
    FROM (
        SELECT cost, effective_to FROM past_credit_costs WHERE operation = p_operation
        UNION ALL
        SELECT coalesce(
            (SELECT cost FROM credit_costs WHERE operation = p_operation AND is_active),
            CASE p_operation
                WHEN 'ai_response' THEN 1
                WHEN 'chat_message' THEN 0.5
                WHEN 'document_upload' THEN 2
                WHEN 'assessment' THEN 5
                WHEN 'content_writing' THEN 10
                WHEN 'image_generation' THEN 5
            END), 'infinity') AS v
$$;
