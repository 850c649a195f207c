-- True if a cycle costs nothing and no whole cycle of its subscription comes before it: a plan
-- without a price began with the subscription, or goes on behind a cycle that an end at a date had
-- cut; or a change of plan or a resumption began it, and its plan line has no price, or a coupon
-- took all of it. Nobody gets the month's allowance anew by that. Expects the account's rows to be
-- shown.
CREATE OR REPLACE FUNCTION usage_began_for_nothing(p_subscription_id uuid, p_start timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT EXISTS (
        SELECT FROM subscriptions
        WHERE id = p_subscription_id AND amount_minor = 0
            -- Its own step may not have begun the rest yet.
            AND (created_at = p_start
                OR cycle_start = p_start AND cycle_rest_of IS NOT NULL
                OR cycle_end = p_start AND cycle_whole_end IS NOT NULL)
    ) OR EXISTS (
        SELECT FROM subscription_changes AS c JOIN invoices AS i ON i.id = c.invoice_id
        WHERE c.subscription_id = p_subscription_id AND c.status = 'applied'
            AND c.kind IN ('plan', 'resume') AND i.cycle_start = p_start
            AND NOT EXISTS (
                SELECT FROM invoice_lines AS l
                WHERE l.invoice_id = i.id AND l.kind = 'plan'
                    AND l.amount_minor > l.discount_minor))
$$;
