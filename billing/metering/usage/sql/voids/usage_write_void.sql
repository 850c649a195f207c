-- Write the record that voids a use, its counters and quotas, what the plan's allowance now covers
-- instead, the new cost of later uses, and the use's new status with its event. `p_is_charged`: an
-- invoice or card charged it, and that stands. Expects the account's lock.
CREATE OR REPLACE FUNCTION usage_write_void(
    p_account usage_account, p_id uuid, p_void_id uuid, p_is_charged boolean, p_entry uuid,
    p_detail jsonb)
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    me CONSTANT uuid := p_account.account_id;
    wrong record;
    taken quota_timed_use[];
BEGIN
    SELECT r.billing_method AS method, r.meter, r.period_start, r.included_units, r.month INTO wrong
    FROM billing_records AS r WHERE r.id = p_id AND r.month = ANY (usage_record_months(p_id));
    INSERT INTO billing_records (
        id, account_id, request_hash, user_id, organization_id, session_id, request_id, product_id,
        service_type, feature_type, operation, model, meter, usage_amount, included_units,
        charged_units, unit_price, total_amount, currency, billing_method, billing_status,
        is_free_tier, is_late, transaction_id, detail, period_start, day_at, occurred_at,
        created_at, updated_at, voids, month)
    SELECT
        p_void_id, r.account_id, 0, r.user_id, r.organization_id, r.session_id, r.request_id,
        r.product_id, r.service_type, r.feature_type, r.operation, r.model, r.meter,
        -r.usage_amount, -r.included_units, -r.charged_units, r.unit_price, -r.total_amount,
        r.currency, CASE WHEN p_is_charged THEN 'payment_charge' ELSE r.billing_method END,
        'refunded', r.is_free_tier, r.is_late, p_entry, p_detail, r.period_start, r.day_at,
        r.occurred_at, p_account.as_of, p_account.as_of, r.id, r.month
    FROM billing_records AS r
    WHERE r.id = p_id AND r.month = wrong.month;
    IF p_account.has_quotas THEN
        taken := ARRAY(
            SELECT ROW(r.id, r.user_id, r.organization_id, r.meter,
                r.included_units + r.charged_units, r.occurred_at, r.period_start)::quota_timed_use
            FROM billing_records AS r WHERE r.id = p_void_id AND r.month = wrong.month);
        -- Before the counters know: a window that begins now is counted from them.
        PERFORM quota_open_windows(
            me, p_account.zone, p_account.start_at, taken, p_account.as_of);
        PERFORM quota_apply(me, taken, p_account.as_of);
    END IF;
    PERFORM usage_count_again(me, ARRAY[p_void_id], 1);
    PERFORM usage_set_status(me, p_id, wrong.method, 'refunded', NULL, p_detail, p_account.as_of);
    IF wrong.included_units > 0 THEN
        PERFORM usage_allot_again(
            me, wrong.period_start, wrong.meter, wrong.included_units, p_account.as_of);
    END IF;
    PERFORM usage_price_again(me, wrong.period_start, wrong.meter, p_account.as_of);
END;
$$;
