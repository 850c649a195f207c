-- Set the status of an existing record, with its event [F20], its day's counters, and its place
-- among the unpaid uses. A finished charge makes room for the next one.
CREATE OR REPLACE FUNCTION usage_set_status(
    p_account_id uuid, p_id uuid, p_method text, p_status text, p_transaction_id uuid,
    p_detail jsonb, p_at timestamptz)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    was record;
BEGIN
    SELECT r.billing_method, r.billing_status INTO was
    FROM billing_records AS r
    WHERE r.id = p_id AND r.month = ANY (usage_record_months(p_id)) FOR UPDATE;
    UPDATE billing_records
    SET billing_method = p_method, billing_status = p_status,
        transaction_id = coalesce(p_transaction_id, transaction_id), updated_at = p_at
    WHERE id = p_id AND month = ANY (usage_record_months(p_id));
    INSERT INTO billing_events (id, account_id, billing_id, status_before, status_after, detail, at)
    VALUES (uuidv7(), p_account_id, p_id, was.billing_status, p_status, p_detail, p_at);
    IF was.billing_method <> p_method OR was.billing_status <> p_status THEN
        PERFORM usage_move_facet(
            p_account_id, ARRAY[p_id], was.billing_method, was.billing_status);
    END IF;
    IF p_status = 'failed' THEN
        PERFORM usage_note_unpaid(p_account_id, ARRAY[p_id], p_at);
    ELSIF p_status IN ('completed', 'refunded') THEN
        DELETE FROM unpaid_uses WHERE record_id = p_id;
        IF FOUND AND was.billing_method = 'payment_charge' AND was.billing_status = 'pending' THEN
            PERFORM account_watch(p_account_id, p_at, p_at);
        END IF;
    END IF;
END;
$$;
