-- Whether a cycle of a subscription begins without that one before it is over: its first one, but
-- for the end of a trial, or one that a change of plan began.
CREATE OR REPLACE FUNCTION usage_begins_early(
    p_subscription_id uuid, p_cycle_start timestamptz, p_trial_end timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT p_trial_end IS DISTINCT FROM p_cycle_start AND NOT EXISTS (
            SELECT FROM invoices
            WHERE subscription_id = p_subscription_id AND cycle_start < p_cycle_start
                AND status <> 'void')
        OR EXISTS (
            SELECT FROM subscription_changes AS c JOIN invoices AS i ON i.id = c.invoice_id
            WHERE c.subscription_id = p_subscription_id AND c.status = 'applied' AND c.kind = 'plan'
                AND i.cycle_start = p_cycle_start)
$$;
