-- Capture a hold that no use of a meter is behind, with its usage log [F4]. Verdicts as those of
-- credit_capture_held.
CREATE OR REPLACE FUNCTION credit_capture_one(
    p_item credit_capture_item, p_at timestamptz DEFAULT NULL)
RETURNS credit_capture_answer
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    shown text := coalesce(current_setting('app.accounts', true), '');
    answer credit_capture_answer := credit_capture_held(p_item, p_at);
BEGIN
    IF answer.verdict = 'ok' THEN
        PERFORM set_config('app.accounts', p_item.account_id::text, true);
        INSERT INTO capture_logs (
            transaction_id, account_id, user_id, operation, model, credits, paid_only, detail,
            created_at)
        SELECT t.id, t.account_id, h.made_by, t.reason, t.detail ->> 'model', -t.amount,
            h.paid_only, t.detail, t.at
        FROM credit_transactions AS t JOIN credit_holds AS h ON h.id = p_item.hold_id
        WHERE t.id = answer.transaction_id;
        PERFORM set_config('app.accounts', shown, true);
    END IF;
    RETURN answer;
END;
$$;
