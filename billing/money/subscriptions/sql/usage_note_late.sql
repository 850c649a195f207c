-- Late use that the next invoice would charge, where there is none: the subscription has ended. It
-- waits a day for more of its kind; then the account's matter writes a supplementary invoice.
CREATE OR REPLACE FUNCTION usage_note_late(p_records usage_rated[]) RETURNS void
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH ended AS (
        UPDATE usage_periods AS p SET late_at = r.at
        FROM (
            SELECT account_id, period_start, max(created_at) AS at FROM unnest(p_records)
            WHERE is_late AND currency <> 'CREDIT' AND billing_method = 'subscription_included'
            GROUP BY account_id, period_start) AS r
        WHERE p.account_id = r.account_id AND p.start_at = r.period_start AND p.late_at IS NULL
            AND EXISTS (
                SELECT 1 FROM subscriptions WHERE id = p.subscription_id AND status = 'canceled')
        RETURNING p.account_id, r.at
    )
    SELECT account_watch(account_id, min(at) + interval '1 day', min(at))
    FROM ended GROUP BY account_id
$$;
