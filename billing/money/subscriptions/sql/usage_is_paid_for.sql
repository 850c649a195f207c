-- Whether money ever came for a subscription: by a card, by hand or from the money balance. What
-- was carried, or taken off by a coupon, is none.
CREATE OR REPLACE FUNCTION usage_is_paid_for(p_subscription_id uuid) RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT EXISTS (
        SELECT FROM invoices
        WHERE subscription_id = p_subscription_id AND status <> 'void'
            AND amount_paid_minor + balance_applied_minor > 0)
$$;
