-- The reason to refuse a use regardless of earlier use, or null.
CREATE OR REPLACE FUNCTION usage_refusal(
    p_kind usage_metered, p_price usage_price, p_used_at timestamptz, p_as_of timestamptz)
RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN p_used_at > p_as_of + usage_early_limit() THEN 'EVENT_IN_FUTURE'
        WHEN p_used_at < p_as_of - usage_late_limit() THEN 'EVENT_TOO_OLD'
        WHEN p_kind.method = 'payment_charge' AND (
            current_setting('app.charging', true) IS DISTINCT FROM 'on'
            OR p_price.model IS NULL)
            THEN 'PAYMENT_CHARGE_NOT_OFFERED'
        WHEN p_kind.product_id IS NOT NULL AND (p_price.model IS NULL OR p_kind.meter IS NULL)
            THEN 'PRODUCT_PRICING_NOT_FOUND'
        -- An operation that is named alone had no price at that time.
        WHEN p_kind.meter IS NULL OR p_price.model IS NULL
            AND num_nonnulls(p_kind.product_id, p_kind.feature_type, p_kind.service_type) = 0
            THEN 'METER_NOT_FOUND'
    END
$$;
