-- Notify of a threshold once per window: its row, and its event.
CREATE OR REPLACE FUNCTION usage_notify_threshold(
    p_account_id uuid, p_alert usage_threshold_alert, p_at timestamptz,
    p_type text DEFAULT 'evt.billing.usage.threshold_reached')
RETURNS void
LANGUAGE sql AS $$
    WITH noted AS (
        INSERT INTO usage_alerts (
            id, account_id, subject, meter, owner, threshold, window_start, limit_amount,
            used_amount, created_at)
        VALUES (uuidv7(), p_account_id, p_alert.subject, p_alert.meter, p_alert.owner,
            p_alert.percent, p_alert.window_start, p_alert.limit_amount, p_alert.used_amount, p_at)
        ON CONFLICT DO NOTHING
        RETURNING id
    ), numbered AS (
        UPDATE credit_balances SET event_seq = 1
            + greatest(event_seq, (SELECT max(last_number) FROM skipped_events))
        WHERE account_id = p_account_id AND EXISTS (SELECT 1 FROM noted)
        RETURNING event_seq
    )
    INSERT INTO events (id, account_id, seq, type, data, occurred_at, created_at)
    SELECT uuidv7(), p_account_id, event_seq, p_type,
        jsonb_build_object(
            'account_id', public_id('acc', p_account_id), 'meter', p_alert.meter,
            'subject', CASE WHEN starts_with(p_alert.subject, 'quota ')
                THEN 'quota ' || public_id('qta', substr(p_alert.subject, 7)::uuid)
                ELSE p_alert.subject END,
            'owner', p_alert.owner,
            'threshold_percent', p_alert.percent, 'limit', public_decimal(p_alert.limit_amount),
            'used', public_decimal(p_alert.used_amount), 'window_start', p_alert.window_start),
        p_at, clock_timestamp()
    FROM numbered
$$;
