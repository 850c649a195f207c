-- Publish an event for each use.
CREATE OR REPLACE FUNCTION usage_publish_records(p_records usage_rated[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH numbered AS (
        UPDATE credit_balances AS b SET event_seq = r.uses
            + greatest(b.event_seq, (SELECT max(last_number) FROM skipped_events))
        FROM (SELECT account_id, count(*) AS uses FROM unnest(p_records) GROUP BY 1) AS r
        WHERE b.account_id = r.account_id
        RETURNING b.account_id, b.event_seq - r.uses AS before
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(), r.account_id,
        n.before + row_number() OVER (PARTITION BY r.account_id ORDER BY (r.use).place),
        'evt.billing.usage.recorded',
        jsonb_build_object(
            'account_id', public_id('acc', r.account_id),
            'billing_id', public_id('bill', (r.use).id),
            'event_id', (r.use).event_id, 'user_id', (r.use).user_id,
            'organization_id', (r.use).organization_id, 'product_id', (r.kind).product_id,
            'service_type', (r.kind).service_type, 'feature_type', (r.kind).feature_type,
            'meter', r.meter, 'usage_amount', public_decimal((r.use).amount),
            'total_amount', public_decimal(r.total_amount), 'currency', r.currency,
            'billing_method', r.billing_method, 'billing_status', r.billing_status,
            'occurred_at', r.occurred_at),
        r.created_at, clock_timestamp()
    FROM unnest(p_records) AS r
    JOIN numbered AS n ON n.account_id = r.account_id
$$;
