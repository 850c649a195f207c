-- The number of a cycle's uses that a price has rated, up to `p_most`: a product's (owner `p:…`)
-- since `p_since` if that counts, else the meter's beyond the plan. Needed only if some are free; a
-- voided use frees its place.
CREATE OR REPLACE FUNCTION usage_uses_before(
    p_account_id uuid, p_owner text, p_meter text, p_start timestamptz, p_since timestamptz,
    p_most bigint)
RETURNS bigint
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT count(*) FROM (
        SELECT FROM billing_records AS r
        WHERE r.account_id = p_account_id AND r.meter = p_meter AND r.kind = 'usage'
            AND r.charged_units > 0 AND r.billing_status <> 'refunded'
            AND r.occurred_at >= least(p_start, p_since) - usage_early_limit()
            AND (r.period_start = p_start OR r.occurred_at >= p_since AND p_owner <> '')
            AND CASE WHEN p_owner = '' THEN r.currency <> 'CREDIT'
                AND r.billing_method = 'subscription_included'
                ELSE r.product_id = substr(p_owner, 3)
                    AND (r.total_amount <> 0 OR r.is_free_tier)
                    AND (r.currency = 'CREDIT' OR r.billing_method = 'payment_charge') END
        LIMIT p_most) AS seen
$$;
