-- Notify of a threshold once per window: its row, and its event.
CREATE OR REPLACE FUNCTION usage_notify_threshold(
    p_account_id uuid, p_alert usage_threshold_alert, p_at timestamptz,
    p_type text DEFAULT 'evt.billing.usage.threshold_reached')
RETURNS void
LANGUAGE sql AS $$
    SELECT usage_notify_thresholds(p_account_id, ARRAY[p_alert], p_at, p_type)
$$;
