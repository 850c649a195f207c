-- Pay the only record with a hold; if it costs nothing, release the hold.
CREATE OR REPLACE FUNCTION usage_capture(INOUT p_records usage_rated[], p_hold_id uuid)
LANGUAGE plpgsql AS $$
DECLARE
    shown text := current_setting('app.accounts', true);
    due usage_rated := p_records[1];
BEGIN
    IF due.total_amount > 0 THEN
        p_records[1].transaction_id := (credit_capture_held(
            ROW(due.account_id, p_hold_id, due.total_amount,
                coalesce(
                    'usage: ' || coalesce((due.kind).product_id, (due.kind).operation), 'usage'),
                jsonb_build_object(
                    'billing_id', public_id('bill', (due.use).id),
                    'product_id', (due.kind).product_id,
                    'usage_amount', public_decimal((due.use).amount)))::credit_capture_item,
            due.created_at)).transaction_id;
        p_records[1].billing_status := 'completed';
    ELSE
        PERFORM credit_release(due.account_id, p_hold_id, due.created_at);
    END IF;
    PERFORM set_config('app.accounts', shown, true);
END;
$$;
