-- The credit cost of one operation: its active row, else the built-in price, also in
-- billing/catalog/plans/rules.py; a test compares the two [F5]. Null: it has no price.
CREATE OR REPLACE FUNCTION credit_cost(p_operation text) RETURNS numeric
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(
        (SELECT cost FROM credit_costs WHERE operation = p_operation AND is_active),
        CASE p_operation
            WHEN 'ai_response' THEN 1
            WHEN 'chat_message' THEN 0.5
            WHEN 'document_upload' THEN 2
            WHEN 'assessment' THEN 5
            WHEN 'content_writing' THEN 10
            WHEN 'image_generation' THEN 5
        END)
$$;
