-- Insert records of the fast path within the plan's allowance.
CREATE OR REPLACE FUNCTION usage_insert_included_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    INSERT INTO billing_records (
        id, account_id, event_id, request_hash, user_id, organization_id, session_id, request_id,
        product_id, service_type, feature_type, operation, model, meter, usage_amount,
        included_units, charged_units, unit_price, total_amount, currency, billing_method,
        billing_status, is_free_tier, is_late, detail, period_start, day_at, occurred_at,
        created_at, updated_at, month)
    SELECT
        u.id, a.account_id, u.event_id, u.hash, u.user_id, u.organization_id, u.session_id,
        u.request_id, k.product_id, k.service_type, k.feature_type, k.operation, k.model, k.meter,
        u.amount, u.amount, 0, k.unit_price, 0, 'CREDIT', 'subscription_included', 'completed',
        false, false, u.detail, a.start_at, CASE WHEN u.used_at IS NULL THEN a.day_at
            ELSE date_trunc('day', u.used_at, a.zone) END,
        coalesce(u.used_at, a.as_of), a.as_of, a.as_of,
        usage_month_of(u.id, u.event_id IS NOT NULL)
    FROM unnest(p_uses) AS u
    JOIN unnest(p_accounts) AS a ON a.place = u.account
    JOIN unnest(p_kinds) AS k ON k.kind = u.kind
$$;
