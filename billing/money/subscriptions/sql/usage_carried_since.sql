-- Since when use counts for the free units and tiers of products in a cycle that begins before the
-- one before it is over, with another subscription or with a change of plan; before the whole of
-- one that an end at a date had cut short is over; or with another short subscription before the
-- whole of a short one is: since that one began, or went on itself. Null for any other cycle, and
-- behind one that was not sold: a plan without a price gives its free units by the calendar month,
-- and what follows a trial has them anew.
CREATE OR REPLACE FUNCTION usage_carried_since(
    p_account_id uuid, p_subscription_id uuid, p_cycle_start timestamptz, p_length interval,
    p_zone text)
RETURNS timestamptz
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    -- Whole days, as use is counted; no more than a cycle has.
    SELECT date_trunc('day', greatest(
        usage_instant(p_cycle_start AT TIME ZONE p_zone - p_length, p_zone), coalesce((
            SELECT carried_since FROM usage_periods
            WHERE account_id = p_account_id AND start_at = b.cycle_start), b.cycle_start)), p_zone)
    FROM (
        SELECT c.subscription_id, (c.terms ->> 'cycle_start')::timestamptz AS cycle_start
        FROM subscription_changes AS c JOIN invoices AS i ON i.id = c.invoice_id
        WHERE c.subscription_id = p_subscription_id AND c.status = 'applied' AND c.kind = 'plan'
            AND i.cycle_start = p_cycle_start
        UNION ALL
        SELECT id, cycle_start FROM subscriptions
        WHERE account_id = p_account_id AND id <> p_subscription_id AND status = 'canceled'
            AND cycle_start < p_cycle_start
            AND p_cycle_start < greatest(cycle_whole_end, cycle_end,
                CASE WHEN usage_is_short(p_subscription_id) THEN usage_whole_until(id) END)
            AND NOT EXISTS (
                SELECT FROM invoices
                WHERE subscription_id = p_subscription_id AND cycle_start < p_cycle_start
                    AND status <> 'void')
        UNION ALL
        -- Its own step may not have begun the rest yet.
        SELECT s.id, rest.of
        FROM subscriptions AS s CROSS JOIN LATERAL (VALUES
            (s.cycle_start, s.cycle_rest_of),
            (s.cycle_end, CASE WHEN s.cycle_whole_end IS NOT NULL THEN s.cycle_start END)
        ) AS rest(start_at, of)
        WHERE s.id = p_subscription_id AND rest.start_at = p_cycle_start AND rest.of IS NOT NULL
        ORDER BY cycle_start DESC
        LIMIT 1) AS b
    WHERE EXISTS (
        SELECT FROM invoices AS i
        WHERE i.subscription_id = b.subscription_id AND i.status NOT IN ('draft', 'void')
            AND i.subtotal_minor > 0 AND i.period_start <= b.cycle_start
            AND b.cycle_start < i.period_end)
$$;
