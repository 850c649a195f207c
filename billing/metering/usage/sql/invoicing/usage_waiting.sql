-- Uses of one meter in one cycle beyond the plan that are on no invoice yet. Inlined where it is
-- called.
CREATE OR REPLACE FUNCTION usage_waiting(
    p_account_id uuid, p_period_start timestamptz, p_meter text)
RETURNS SETOF billing_records
LANGUAGE sql STABLE AS $$
    SELECT r.*
    FROM billing_records AS r
    WHERE r.account_id = p_account_id AND r.billing_status = 'pending'
        AND r.occurred_at >= p_period_start - usage_early_limit()
        AND r.period_start = p_period_start AND r.meter = p_meter AND r.kind = 'usage'
        AND r.currency <> 'CREDIT' AND r.billing_method = 'subscription_included'
        AND r.charged_units > 0 AND r.voids IS NULL
        AND r.id NOT IN (
            SELECT unnest(records) FROM usage_settlements WHERE account_id = p_account_id)
$$;
