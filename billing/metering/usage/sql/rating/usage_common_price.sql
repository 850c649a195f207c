-- The price of all use of a meter beyond the plan in a cycle; null if it had several, or none. This
-- alone decides whether units depend on each other: what they cost together, and what they cost
-- once some are voided.
-- A use has the price of its time (usage_limits_at): of the first terms that ended after it, or
-- that had not ended yet when it was recorded. Voided use that an invoice charged counts, because
-- it keeps its place.
CREATE OR REPLACE FUNCTION usage_common_price(
    p_account_id uuid, p_period_start timestamptz, p_meter text)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
DECLARE
    prices jsonb[] := ARRAY(
        SELECT DISTINCT price FROM usage_overage_prices(p_account_id, p_period_start, p_meter));
BEGIN
    -- The uses are looked through only where the price has changed.
    IF cardinality(prices) > 1 THEN
        prices := ARRAY(
            WITH terms AS MATERIALIZED (
                SELECT place, until, written, price
                FROM usage_overage_prices(p_account_id, p_period_start, p_meter)
            )
            SELECT DISTINCT t.price
            FROM terms AS t
            WHERE EXISTS (
                SELECT FROM billing_records AS r
                WHERE r.account_id = p_account_id AND r.period_start = p_period_start
                    AND r.occurred_at >= p_period_start - usage_early_limit()
                    AND r.meter = p_meter AND r.kind = 'usage' AND r.voids IS NULL
                    AND r.billing_method = 'subscription_included' AND r.currency <> 'CREDIT'
                    AND r.charged_units > 0 AND (r.billing_status <> 'refunded' OR EXISTS (
                        SELECT FROM billing_records AS v
                        WHERE v.id = usage_void_id(r.id) AND v.month = r.month
                            AND v.billing_method = 'payment_charge'))
                    AND (r.occurred_at < t.until OR r.written_at < t.written)
                    AND NOT EXISTS (
                        SELECT FROM terms AS e
                        WHERE e.place < t.place
                            AND (r.occurred_at < e.until OR r.written_at < e.written))));
    END IF;
    RETURN CASE WHEN cardinality(prices) = 1 THEN prices[1] END;
END;
$$;
