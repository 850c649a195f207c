-- Since when use counts for the free units and tiers of products in a cycle that begins before the
-- one before it is over, with another subscription or with a change of plan: since that one began,
-- or went on itself. Null for any other cycle.
CREATE OR REPLACE FUNCTION usage_carried_since(
    p_account_id uuid, p_subscription_id uuid, p_cycle_start timestamptz, p_length interval,
    p_zone text)
RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    -- Whole days, as use is counted.
    SELECT date_trunc('day', greatest(p_cycle_start - p_length, coalesce((
        SELECT carried_since FROM usage_periods
        WHERE account_id = p_account_id AND start_at = b.cycle_start), b.cycle_start)), p_zone)
    FROM (
        SELECT (c.terms ->> 'cycle_start')::timestamptz AS cycle_start
        FROM subscription_changes AS c JOIN invoices AS i ON i.id = c.invoice_id
        WHERE c.subscription_id = p_subscription_id AND c.status = 'applied' AND c.kind = 'plan'
            AND i.cycle_start = p_cycle_start
        UNION ALL
        SELECT cycle_start FROM subscriptions
        WHERE account_id = p_account_id AND id <> p_subscription_id AND status = 'canceled'
            AND cycle_start < p_cycle_start AND p_cycle_start < cycle_end
            AND NOT EXISTS (
                SELECT FROM invoices
                WHERE subscription_id = p_subscription_id AND cycle_start < p_cycle_start
                    AND status <> 'void')
        ORDER BY cycle_start DESC
        LIMIT 1) AS b
$$;
