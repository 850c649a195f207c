-- True if a cycle costs nothing and no whole cycle of its subscription comes before it: a plan
-- without a price began with the subscription, or goes on behind a cycle that an end at a date had
-- cut; or a change of plan or a resumption began it, or the cut cycle behind which it goes on, and
-- the plan line of neither has a price, or coupons took all of it. Nobody gets the month's
-- allowance anew by that. Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_began_for_nothing(p_subscription_id uuid, p_start timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT coalesce(bool_or(s.amount_minor = 0 AND (s.created_at = p_start OR rest.of IS NOT NULL)
        OR EXISTS (
            SELECT FROM subscription_changes AS c JOIN invoices AS i ON i.id = c.invoice_id
            WHERE c.subscription_id = s.id AND c.status = 'applied'
                AND c.kind IN ('plan', 'resume') AND i.cycle_start IN (p_start, rest.of)
                AND NOT EXISTS (
                    SELECT FROM invoices AS b JOIN invoice_lines AS l ON l.invoice_id = b.id
                    WHERE (b.id = i.id OR b.subscription_id = s.id AND b.cycle_start = p_start
                            AND i.cycle_start < p_start AND b.status <> 'void')
                        AND l.kind = 'plan' AND l.amount_minor > l.discount_minor))), false)
    FROM subscriptions AS s
    -- Its own step may not have begun the rest yet.
    LEFT JOIN LATERAL (VALUES
        (s.cycle_start, s.cycle_rest_of),
        (s.cycle_end, CASE WHEN s.cycle_whole_end IS NOT NULL THEN s.cycle_start END)
    ) AS rest(start_at, of) ON rest.start_at = p_start
    WHERE s.id = p_subscription_id
$$;
