-- The terms of the changes that came about within a subscription's cycle from `p_start`. Inlined
-- where it is called. Expects the account's rows to be shown.
CREATE OR REPLACE FUNCTION usage_changes_in_cycle(p_subscription_id uuid, p_start timestamptz)
RETURNS TABLE (terms jsonb)
LANGUAGE sql STABLE AS $$
    SELECT c.terms
    FROM subscription_changes AS c
    WHERE c.subscription_id = p_subscription_id AND c.status = 'applied'
        AND c.invoice_id IS NOT NULL AND c.decided_at >= p_start
        AND (c.terms ->> 'cycle_start')::timestamptz = p_start
$$;
