-- Complete records that an invoice bills: their status with its event [F20], and their days'
-- counters. Returns how many. The account's lock is held.
CREATE OR REPLACE FUNCTION usage_complete(
    p_account_id uuid, p_records uuid[], p_invoice text, p_at timestamptz)
RETURNS integer
LANGUAGE plpgsql
SET enable_seqscan = off
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    completed uuid[];
BEGIN
    WITH done AS (
        UPDATE billing_records
        SET billing_status = 'completed', updated_at = p_at
        WHERE id = ANY (p_records) AND month = ANY (usage_months_of(p_records))
            AND account_id = p_account_id AND billing_status = 'pending'
        RETURNING id
    ), noted AS (
        INSERT INTO billing_events (
            id, account_id, billing_id, status_before, status_after, detail, at)
        SELECT uuidv7(), p_account_id, id, 'pending', 'completed',
            jsonb_build_object('invoice_id', p_invoice), p_at
        FROM done
    )
    SELECT array_agg(id) INTO completed FROM done;
    IF completed IS NOT NULL THEN
        PERFORM usage_move_facet(p_account_id, completed, 'subscription_included', 'pending');
    END IF;
    RETURN coalesce(cardinality(completed), 0);
END;
$$;
