-- Notify of each of these thresholds once per window: their rows, and their events, in this order.
-- The account's row, which numbers the events, is changed once: each further change of it would
-- take longer than the one before.
CREATE OR REPLACE FUNCTION usage_notify_thresholds(
    p_account_id uuid, p_alerts usage_threshold_alert[], p_at timestamptz, p_type text)
RETURNS void
LANGUAGE sql AS $$
    WITH noted AS (
        INSERT INTO usage_alerts (
            id, account_id, subject, meter, owner, threshold, window_start, limit_amount,
            used_amount, created_at)
        SELECT uuidv7(), p_account_id, subject, meter, owner, percent, window_start, limit_amount,
            used_amount, p_at
        FROM unnest(p_alerts)
        ON CONFLICT DO NOTHING
        RETURNING id, subject, meter, owner, threshold, window_start, limit_amount, used_amount
    ), numbered AS (
        UPDATE credit_balances SET event_seq = (SELECT count(*) FROM noted)
            + greatest(event_seq, (SELECT max(last_number) FROM skipped_events))
        WHERE account_id = p_account_id AND EXISTS (SELECT 1 FROM noted)
        RETURNING event_seq
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(), p_account_id, b.event_seq + 1 - row_number() OVER (ORDER BY n.id DESC), p_type,
        jsonb_build_object(
            'account_id', public_id('acc', p_account_id), 'meter', n.meter,
            'subject', CASE WHEN starts_with(n.subject, 'quota ')
                THEN 'quota ' || public_id('qta', substr(n.subject, 7)::uuid)
                ELSE n.subject END,
            'owner', n.owner,
            'threshold_percent', n.threshold, 'limit', public_decimal(n.limit_amount),
            'used', public_decimal(n.used_amount), 'window_start', n.window_start),
        p_at, clock_timestamp()
    FROM noted AS n CROSS JOIN numbered AS b
$$;
