-- One of two names for recorded uses, with the columns its readers know [G5]. The reader's own
-- rights and row-level security apply.
CREATE OR REPLACE VIEW usage_records WITH (security_invoker = true) AS
SELECT
    r.id, r.account_id, r.user_id, p.subscription_id, r.feature_type, r.service_type,
    r.product_id, r.meter, r.usage_amount, r.period_start AS billing_period_start,
    p.end_at AS billing_period_end, r.occurred_at AS recorded_at, r.detail AS metadata
FROM billing_records AS r
LEFT JOIN usage_periods AS p ON p.account_id = r.account_id AND p.start_at = r.period_start
WHERE r.kind = 'usage';
