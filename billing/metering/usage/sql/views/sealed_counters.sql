-- The sums per counter of archived months' records. The reader's own rights and row-level security
-- apply.
CREATE OR REPLACE VIEW sealed_counters WITH (security_invoker = true) AS
SELECT
    s.account_id, c.owner, c.grain, c.period_start, c.bucket, c.meter, c.facet, c.quantity,
    c.events, c.maximum, c.last_value, c.last_at, c.credits, c.overage, c.overage_total
FROM sealed_usage AS s
JOIN month_files AS f ON f.id = s.file_id AND f.is_away
CROSS JOIN LATERAL jsonb_to_recordset(s.counters) AS c(
    owner text, grain text, period_start timestamptz, bucket timestamptz, meter text, facet text,
    quantity numeric, events bigint, maximum numeric, last_value numeric, last_at timestamptz,
    credits numeric, overage numeric, overage_total numeric);
