-- Write records as they were rated.
CREATE OR REPLACE FUNCTION usage_insert_records(p_records usage_rated[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO billing_records (
        id, account_id, event_id, request_hash, user_id, organization_id, session_id, request_id,
        product_id, service_type, feature_type, operation, model, meter, usage_amount,
        included_units, charged_units, unit_price, total_amount, currency, billing_method,
        billing_status, is_free_tier, is_late, transaction_id, detail, period_start, day_at,
        occurred_at, created_at, updated_at, month)
    SELECT
        (r.use).id, r.account_id, (r.use).event_id, (r.use).hash, (r.use).user_id,
        (r.use).organization_id, (r.use).session_id, (r.use).request_id,
        (r.kind).product_id, (r.kind).service_type, (r.kind).feature_type, (r.kind).operation,
        (r.kind).model, r.meter, (r.use).amount, r.included_units, r.charged_units, r.unit_price,
        r.total_amount, r.currency, r.billing_method, r.billing_status, r.is_free_tier, r.is_late,
        r.transaction_id, (r.use).detail, r.period_start, r.day_at, r.occurred_at, r.created_at,
        r.created_at, usage_month_of((r.use).id, (r.use).event_id IS NOT NULL)
    FROM unnest(p_records) AS r
$$;
