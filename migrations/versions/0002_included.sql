-- What plans included of uses that credits paid for the rest has counters of its own; prepare.sql
-- has made these uses quick to find. For once their owner looks at the rows of all accounts.
ALTER TABLE billing_records NO FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_counters NO FORCE ROW LEVEL SECURITY;
INSERT INTO usage_counters (
    account_id, owner, grain, period_start, bucket, meter, facet, quantity, events, maximum,
    last_value, last_at, credits, overage, overage_total)
SELECT account_id, 'i:', 'day', period_start, day_at, meter, '', sum(included_units), count(*),
    max(usage_amount), (array_agg(usage_amount ORDER BY occurred_at DESC))[1], max(occurred_at),
    sum(total_amount), 0, 0
FROM billing_records
WHERE kind = 'usage' AND currency = 'CREDIT' AND included_units > 0 AND total_amount > 0
GROUP BY account_id, period_start, day_at, meter;
ALTER TABLE usage_counters FORCE ROW LEVEL SECURITY;
ALTER TABLE billing_records FORCE ROW LEVEL SECURITY;
DROP INDEX included_of_before;
