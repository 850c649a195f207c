-- Insert records of the fast path, each with the ledger entry that paid it.
CREATE OR REPLACE FUNCTION usage_insert_fast(
    p_accounts usage_account[], p_kinds usage_fast_kind[], p_uses usage_input[],
    p_dues usage_due[], p_entries uuid[])
RETURNS void
LANGUAGE sql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_hashjoin = on
SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan
AS $$
    WITH paid AS MATERIALIZED (
        SELECT d.account, d.share, d.method, p_entries[d.ordinality] AS transaction_id
        FROM unnest(p_dues) WITH ORDINALITY AS d
    )
    INSERT INTO billing_records (
        id, account_id, event_id, request_hash, user_id, organization_id, session_id, request_id,
        product_id, service_type, feature_type, operation, model, meter, usage_amount,
        included_units, charged_units, unit_price, total_amount, currency, billing_method,
        billing_status, is_free_tier, is_late, transaction_id, detail, period_start, day_at,
        occurred_at, created_at, updated_at, month)
    SELECT
        u.id, a.account_id, u.event_id, u.hash, u.user_id, u.organization_id, u.session_id,
        u.request_id, k.product_id, k.service_type, k.feature_type, k.operation, k.model, k.meter,
        u.amount, 0, u.amount, k.unit_price,
        usage_charge_units(u.amount, k.unit_price, 'CREDIT'), 'CREDIT', k.method, 'completed',
        k.unit_price = 0 AND k.product_id IS NOT NULL, false, p.transaction_id, u.detail,
        a.start_at, CASE WHEN u.used_at IS NULL THEN a.day_at
            ELSE date_trunc('day', u.used_at, a.zone) END,
        coalesce(u.used_at, a.as_of), a.as_of, a.as_of,
        usage_month_of(u.id, u.event_id IS NOT NULL)
    FROM unnest(p_uses) AS u
    JOIN unnest(p_accounts) AS a ON a.place = u.account
    JOIN unnest(p_kinds) AS k ON k.kind = u.kind
    LEFT JOIN paid AS p ON p.account = u.account AND p.share = u.share AND p.method = k.method
$$;
