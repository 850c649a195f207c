-- Since when use without a paid plan counts for the free units and tiers of products in the first
-- cycle of one, or in that which a change of plan begins: since the calendar month began, or the
-- last cycle that was paid is over. Null for any other cycle.
CREATE OR REPLACE FUNCTION usage_unsold_since(
    p_account_id uuid, p_subscription_id uuid, p_cycle_start timestamptz, p_length interval,
    p_zone text)
RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT m.since
    FROM (
        -- Whole days, as use is counted; no more than a cycle has.
        SELECT greatest(
            date_trunc('month', p_cycle_start, p_zone),
            date_trunc('day', usage_instant(
                p_cycle_start AT TIME ZONE p_zone - p_length, p_zone), p_zone), (
            SELECT date_trunc('day', usage_instant(max(least(
                i.period_end, s.ended_at, p_cycle_start)) AT TIME ZONE p_zone
                + interval '1 day', p_zone), p_zone)
            FROM invoices AS i JOIN subscriptions AS s ON s.id = i.subscription_id
            WHERE i.account_id = p_account_id AND i.status NOT IN ('draft', 'void')
                AND i.subtotal_minor > 0 AND i.period_start < p_cycle_start)) AS since
    ) AS m
    WHERE m.since < p_cycle_start AND (EXISTS (
        SELECT FROM subscriptions
        WHERE id = p_subscription_id AND created_at = p_cycle_start
    ) OR EXISTS (
        SELECT FROM subscription_changes AS c JOIN invoices AS i ON i.id = c.invoice_id
        WHERE c.subscription_id = p_subscription_id AND c.status = 'applied' AND c.kind = 'plan'
            AND i.cycle_start = p_cycle_start))
$$;
